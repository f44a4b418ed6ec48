"""Prove `make run` from a fresh clone: start, search, stop; then a quick second start.

`python3 .ci/prove_run.py FOLDER` clones this repository into FOLDER (empty, left to the caller to
delete). Exit status 0 where everything held; else the run's log is printed and the reason raised.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MINUTE = 60.0
DEMO_ITEMS = 1852


class Server:
    """A running server, started by `command` in the clone."""

    def __init__(self, clone: Path, data_dir: Path, log: Path, command: list[str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.port = server.getsockname()[1]
        settings = {"PORT": str(self.port), "MMSEARCH_DATA_DIR": str(data_dir)}
        self.started = time.monotonic()
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                cwd=clone,
                env={**os.environ, **settings},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def age(self) -> float:
        return time.monotonic() - self.started

    def ask(self, path: str, body: dict[str, Any] | None = None) -> bytes:
        """The body of an answer. Raises OSError where it is no success."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            content: bytes = response.read()
            return content

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            if self.process.poll() is not None:
                raise SystemExit(f"The server ended with {self.process.returncode} before {what}.")
            try:
                if condition():
                    return
            except OSError:
                pass  # not listening, or not ready yet
            if time.monotonic() > deadline:
                raise SystemExit(f"Waited {seconds:.0f} s in vain for {what}.")
            time.sleep(0.2)

    def is_ready(self) -> bool:
        return bool(self.ask("/readyz"))

    def demo_is_indexed(self) -> bool:
        stats = json.loads(self.ask("/stats/"))
        return bool(stats["items"] == DEMO_ITEMS and stats["pending"] == 0)

    def stop(self, signum: signal.Signals) -> int:
        """Signal the process group, as a terminal does; the exit status."""
        os.killpg(self.process.pid, signum)
        return self.process.wait(MINUTE)


def processes_of(folder: Path) -> list[str]:
    """Command lines of running processes that name `folder`."""
    found = subprocess.run(
        ["pgrep", "--full", "--list-full", "--", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.splitlines()
    return [line for line in found if "prove_run.py" not in line]


def check_search(server: Server) -> None:
    answer = json.loads(server.ask("/search_text/", {"query_text": "a red apple", "top_n": 3}))
    texts = [result["text"] for result in answer["results"]]
    print(f"'a red apple' finds {texts} in {answer['query_time'] * 1000:.0f} ms")
    if "red apple" not in texts:
        raise SystemExit(f"'a red apple' found {texts}: no red apple among the first three.")
    page = server.ask("/").decode()
    if "<form" not in page:
        raise SystemExit("The search page has no form.")


def check_installed(venv: Path, log: Path) -> None:
    """What only preparing a model needs is not there."""
    files = [path for path in venv.rglob("*") if path.is_file() and not path.is_symlink()]
    large = [
        float(size)
        for size in re.findall(r"^  \S+ \(([\d.]+) MB\)$", log.read_text(), re.MULTILINE)
    ]
    print(
        f"downloaded {sum(large):.0f} MB in {len(large)} packages of a megabyte or more;"
        f" .venv holds {sum(path.stat().st_size for path in files) / 1e6:.0f} MB"
    )
    unwanted = [*venv.glob("lib/*/site-packages/torch"), *venv.glob("lib/*/site-packages/nncf")]
    if unwanted:
        raise SystemExit(f"Serving the starter does not need {unwanted}.")


def check_nothing_runs(clone: Path) -> None:
    left = processes_of(clone)
    if left:
        raise SystemExit(f"These processes outlived the server: {left}")


def prove(folder: Path, log: Path) -> None:
    clone, data_dir = folder / "clone", folder / "data"
    subprocess.run(
        ["git", "-c", "safe.directory=*", "clone", "--quiet", str(ROOT), str(clone)], check=True
    )
    server = Server(clone, data_dir, log, ["env", "PIP_NO_CACHE_DIR=1", "make", "run"])
    server.wait_until(server.is_ready, "ready", 12 * MINUTE)
    ready = server.age()
    print(f"ready {ready:.0f} s after `make run` in a fresh clone, installation included")
    check_installed(clone / ".venv", log)
    server.wait_until(server.demo_is_indexed, "the demo catalogue", 5 * MINUTE)
    print(f"demo catalogue loaded and indexed {server.age() - ready:.0f} s later")
    check_search(server)
    server.stop(signal.SIGINT)  # make's own status tells only of the signal
    check_nothing_runs(clone)

    python = str(clone / ".venv" / "bin" / "python")
    server = Server(clone, data_dir, log, [python, "-m", "mmsearch_project"])
    server.wait_until(server.is_ready, "ready", MINUTE)
    print(f"second start: ready after {server.age():.1f} s")
    check_search(server)
    status = server.stop(signal.SIGTERM)
    if status != 0:
        raise SystemExit(f"Stopping by SIGTERM ended with {status}, not 0.")
    check_nothing_runs(clone)


def main() -> None:
    folder = Path(sys.argv[1])
    log = folder / "run.log"
    log.touch()
    try:
        prove(folder, log)
    except BaseException:
        print(log.read_text(errors="replace")[-8000:], file=sys.stderr)
        for process in processes_of(folder / "clone"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process.split()[0]), signal.SIGKILL)
        raise


if __name__ == "__main__":
    main()
