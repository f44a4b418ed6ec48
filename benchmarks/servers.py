"""A server under test: started, asked, watched, ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

import psutil

from benchmarks.latency import LoadResult
from benchmarks.material import ROOT
from mmsearch_project.processes import follow_parent

PATIENCE: Final = 600.0
"""Seconds to wait for a server to be ready or for items to be embedded."""
POLL: Final = 0.02


class BenchmarkError(Exception):
    """The benchmark cannot go on; the message says what went wrong."""


class Server(ABC):
    """A server in processes of its own. A context manager: the end of the block ends them."""

    name: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.environment = dict(os.environ)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def command(self) -> list[str]:
        """What starts it."""

    @property
    @abstractmethod
    def database(self) -> Path:
        """The SQLite file that tells how many items are embedded."""

    @property
    @abstractmethod
    def embedded_since(self) -> str:
        """Query for the number of rows that embedding writes, above the key `?`."""

    @property
    @abstractmethod
    def last_embedded(self) -> str:
        """Query for the highest key so far."""

    @property
    @abstractmethod
    def ready_path(self) -> str:
        """Answers 200 once searches are answered."""

    def start(self) -> float:
        """Start, wait until searches are answered; returns the seconds that took."""
        started = time.perf_counter()
        parent = os.getpid()
        log = (self.folder / f"{self.name}.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # One thread runs here: Python between fork and exec is safe.
                preexec_fn=lambda: follow_parent(parent, signal.SIGTERM),  # noqa: PLW1509
            )
        while not self._answers():
            self._check_alive()
            if time.perf_counter() - started > PATIENCE:
                raise BenchmarkError(
                    f"{self.name} was not ready after {PATIENCE:g} s.{self._tail()}"
                )
            time.sleep(POLL)
        return time.perf_counter() - started

    def stop(self) -> None:
        """Ask it to end; make it end after a while."""
        if self._process is None:
            return
        family = self.processes()
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            self._process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            self._process.kill()
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def processes(self) -> list[psutil.Process]:
        """It and everything it started."""
        if self._process is None:
            return []
        try:
            top = psutil.Process(self._process.pid)
            return [top, *top.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def load(self, path: str, *, clients: int, **asked: Any) -> LoadResult:
        """Run the load generator in a process of its own. Raises BenchmarkError on bad answers."""
        request = {"port": self.port, "path": path, "clients": clients, **asked}
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.load"],
            input=json.dumps(request).encode(),
            cwd=ROOT,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise BenchmarkError(f"The load on {self.name} failed: {done.stderr.decode()[-800:]}")
        answer = json.loads(done.stdout)
        result = LoadResult(tuple(answer["durations"]), answer["elapsed"], answer["errors"])
        if result.errors or not result.durations:
            raise BenchmarkError(
                f"{self.name} refused {result.errors} requests to {path}.{self._tail()}"
            )
        return result

    def post(self, path: str, value: dict[str, Any]) -> Any:
        """POST JSON, get JSON. Raises BenchmarkError on any status but 200."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            json.dumps(value).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.load(response)
        except urllib.error.HTTPError as exc:
            raise BenchmarkError(f"{path} answered {exc.code}: {exc.read()[:300]!r}") from exc

    def mark(self) -> int:
        """The highest key embedded so far; hand it to :meth:`wait_embedded`."""
        return int(self._ask(self.last_embedded) or 0)

    def embedded(self, mark: int) -> int:
        """Items embedded after `mark`."""
        return int(self._ask(self.embedded_since, mark))

    def wait_embedded(self, mark: int, count: int, *, poll: float = POLL) -> float:
        """Wait until `count` items after `mark` are embedded; the time by `perf_counter`."""
        deadline = time.perf_counter() + PATIENCE
        while self.embedded(mark) < count:
            self._check_alive()
            if time.perf_counter() > deadline:
                raise BenchmarkError(f"{self.name} did not embed {count} items.{self._tail()}")
            time.sleep(poll)
        return time.perf_counter()

    def _ask(self, query: str, *values: int) -> Any:
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=30)
        with contextlib.closing(connection):
            return connection.execute(query, values).fetchone()[0]

    def _answers(self) -> bool:
        try:
            url = f"http://127.0.0.1:{self.port}{self.ready_path}"
            with urllib.request.urlopen(url, timeout=5) as response:
                return bool(response.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def _check_alive(self) -> None:
        if self._process is None or self._process.poll() is not None:
            raise BenchmarkError(f"{self.name} ended by itself.{self._tail()}")

    def _tail(self) -> str:
        log = self.folder / f"{self.name}.log"
        if not log.exists():
            return ""
        return "\nIts last lines:\n" + log.read_text(encoding="utf-8", errors="replace")[-1500:]


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def end_on_signals() -> Iterator[None]:
    """Turn SIGTERM into KeyboardInterrupt, so that every `with` block ends its processes."""

    def stop(signum: int, frame: Any) -> None:
        del signum, frame
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
