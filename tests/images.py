"""What `deploy/` says, done without a container engine: `python -m tests.images`.

Each RUN and COPY of the Dockerfile is done in a folder (but the making of its user: whoever is
`nobody` here stands for it), then two hosts, each a web server and a worker, are started by its
ENTRYPOINT and the commands of compose.scale.yaml, over PostgreSQL, Redis and a folder of pictures,
behind nginx with `deploy/nginx.conf`. Needs what `requirements-scale-dev.txt` and Debian's
redis-server and nginx-light bring; it takes minutes and some hundred MB, so no suite runs it.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

from tests.processes import kill_tree, wait_until
from tests.servers import PostgreSQL, Redis
from tests.servers.server import NOBODY, free_port

ROOT: Final = Path(__file__).resolve().parent.parent
DEPLOY: Final = ROOT / "deploy"
PYTHON: Final = shutil.which("python3", path="/usr/local/bin:/usr/bin") or sys.executable
"""One that everybody may run."""


class Image:
    """The last stage of the Dockerfile, below a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"PATH": f"{folder}/bin:/usr/bin:/bin"}
        self.workdir = folder
        self.entrypoint: list[str] = []
        (folder / "bin").mkdir()
        (folder / "bin" / "python").symlink_to(PYTHON)
        for name in ("opt", "srv/mmsearch", "data", "pictures"):
            (folder / name).mkdir(parents=True)

    def build(self) -> None:
        text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
        for line in filter(None, map(str.strip, text.splitlines())):
            if not line.startswith("#"):
                word, _, rest = line.partition(" ")
                getattr(self, f"_{word.lower()}", lambda _: None)(rest)

    def placed(self, text: str) -> str:
        """The same with the image's folders where they are here."""
        return re.sub(r"(?<![\w/.])/(opt|srv|data|pictures)\b", rf"{self.folder}/\1", text)

    def _arg(self, rest: str) -> None:
        name, _, value = rest.partition("=")
        self.environment.setdefault(name, value)

    def _env(self, rest: str) -> None:
        for each in shlex.split(rest):
            name, _, value = each.partition("=")
            path = self.environment["PATH"]
            self.environment[name] = self.placed(value).replace("$PATH", path)

    def _workdir(self, rest: str) -> None:
        self.workdir = Path(self.placed(rest))

    def _copy(self, rest: str) -> None:
        if rest.startswith("--from="):
            return  # both stages are this folder
        *sources, target = rest.split()
        for source in sources:
            if (ROOT / source).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / source, self.workdir / target, ignore=ignored)
            else:
                shutil.copy(ROOT / source, self.workdir / target)

    def _run(self, rest: str) -> None:
        if rest.startswith("groupadd"):
            return
        say(f"RUN {rest}")
        proxies = {n: v for n, v in os.environ.items() if n.startswith(("PIP_", "HTTP", "SSL"))}
        environment = proxies | self.environment
        subprocess.run(
            ["/bin/sh", "-ec", self.placed(rest)], cwd=self.workdir, env=environment, check=True
        )

    def _entrypoint(self, rest: str) -> None:
        self.entrypoint = yaml.safe_load(rest)


@contextlib.contextmanager
def container(
    image: Image, command: list[str], log: Path, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the image's, as nobody, with this environment alone."""
    program = shutil.which(image.entrypoint[0], path=image.environment["PATH"])
    is_root = os.geteuid() == 0
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [str(program), *image.entrypoint[1:], *command],
            cwd=image.workdir,
            env=image.environment | environment,
            stdout=stream,
            stderr=stream,
            user=NOBODY if is_root else None,
            group="nogroup" if is_root else None,
            extra_groups=[] if is_root else None,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            status = process.wait(60)
            assert status == 0, f"{command} ended with {status}: {log.read_text()}"


def answer(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        except OSError:
            return 0, b""


def is_shown(port: int, path: str, words: bytes) -> bool:
    status, body = answer(port, path)
    return status == 200 and words in body


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


@contextlib.contextmanager
def proxy(folder: Path, webs: dict[str, int]) -> Iterator[int]:
    """nginx as it is configured, in front of web servers on these ports."""
    port = free_port()
    text = (DEPLOY / "nginx.conf").read_text().replace("listen 8080", f"listen 127.0.0.1:{port}")
    for name, web in webs.items():
        text = text.replace(f"{name}:8000", f"127.0.0.1:{web}")
    text = text.replace("/tmp/", f"{folder}/")
    (folder / "nginx.conf").write_text(text)
    command = ["nginx", "-e", "stderr", "-c", str(folder / "nginx.conf"), "-p", str(folder)]
    subprocess.run([*command, "-t"], check=True)
    process = subprocess.Popen([*command, "-g", "daemon off;"])
    try:
        wait_until(partial(is_shown, port, "/healthz", b""), "nginx to pass requests on")
        yield port
    finally:
        kill_tree(process.pid)
        process.wait()


def services(folder: Path) -> dict[str, Any]:
    """The services of compose.scale.yaml that are ours, by name."""
    text = (DEPLOY / "compose.scale.yaml").read_text()
    found: dict[str, Any] = yaml.safe_load(text)["services"]
    return {name: each for name, each in found.items() if each.get("image") == "mmsearch"}


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="mmsearch-image-"))
    folder.chmod(0o755)
    try:
        image = Image(folder)
        image.build()
        compilers = [name for name in ("gcc", "cc", "g++") if (folder / "bin" / name).exists()]
        assert not compilers
        run(image, folder)
    finally:
        shutil.rmtree(folder)


def run(image: Image, folder: Path) -> None:
    secret = {"MMSEARCH_SECRET_KEY": secrets.token_urlsafe(48)}
    ours = services(folder)
    ports = {name: free_port() for name in ours if name.startswith("web")}
    with PostgreSQL() as postgresql, Redis() as redis, contextlib.ExitStack() as running:
        processes = {}
        for name, service in ours.items():
            data, _, _ = service["volumes"][0].partition(":")
            for place in (folder / data, folder / "pictures"):
                place.mkdir(exist_ok=True)
                if os.geteuid() == 0:
                    shutil.chown(place, NOBODY)
            processes[name] = running.enter_context(
                container(
                    image,
                    service["command"],
                    folder / f"{name}.log",
                    **secret,
                    MMSEARCH_DATA_DIR=str(folder / data),
                    MMSEARCH_MEDIA_URL=str(folder / "pictures"),
                    MMSEARCH_DATABASE_URL=postgresql.url,
                    MMSEARCH_BROKER_URL=redis.url,
                    HOST="127.0.0.1",
                    PORT=str(ports.get(name, 8000)),
                )
            )
        for name, port in ports.items():
            wait_until(partial(is_shown, port, "/readyz", b"ok"), f"{name} to be ready")
            # Behind the proxy it takes a login, which this is not about.
            wait_until(partial(is_shown, port, "/?q=a%20red%20apple", b"apple"), "an apple")
        port = running.enter_context(proxy(folder, ports))
        assert answer(port, "/metrics")[0] == 404
        assert answer(port, "/")[0] == 302
        say("Both hosts answer, and behind the proxy they ask for a login.")
        kill_tree(processes["web-a"].pid)
        codes = {answer(port, "/healthz")[0] for _ in range(50)}
        assert codes == {200}, codes
        say("One web server is dead, and nobody noticed.")


if __name__ == "__main__":
    main()
