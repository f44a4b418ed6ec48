"""A whole installation on a data directory of its own, worked by real processes."""

from __future__ import annotations

import contextlib
import csv
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import psutil

from benchmarks.servers import database_rows
from tests.databases import copy_database, on_servers, servers_of

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 180.0
"""Seconds until a process that should have answered counts as hung."""


def settings_of(data: Path) -> dict[str, str]:
    """What makes a process serve a data folder with the encoder of tests, in the environment."""
    return {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        # The settings of tests leave the environment of a child as it is.
        "TESTS_PID": str(os.getpid()),
        "MMSEARCH_DATA_DIR": str(data),
        **servers_of(data),
    }


class Installation:
    """Commands, workers and searchers on one data directory."""

    def __init__(
        self,
        data: Path,
        *,
        made: Literal["by a copy", "anew", "before"] = "by a copy",
        **environment: str,
    ) -> None:
        """Its space is open: as in another, or by its own migrations, or it was so already."""
        self.data = data
        self.environment = {
            **os.environ,
            **settings_of(data),
            "PYTHONWARNINGS": "ignore",
            **environment,
        }
        file = f"sqlite:///{data / 'mmsearch.sqlite3'}"
        self.database_url = self.environment.get("MMSEARCH_DATABASE_URL") or file
        if made == "anew":
            self.manage("migrate", "-v0")
            self.manage("open_space")
        elif made == "by a copy":
            copy_opened(data)

    def manage(self, *arguments: str, status: int = 0) -> str:
        """Run a management command; returns what it printed."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    @contextlib.contextmanager
    def worker(self, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
        """A running worker cluster; stopped at the end if it still lives."""
        log = (self.data / "worker.log").open("ab")
        process = subprocess.Popen(
            [sys.executable, "-m", "mmsearch_project.cluster"],
            cwd=ROOT,
            env=self.environment | environment,
            stdout=log,
            stderr=log,
        )
        try:
            yield process
        finally:
            kill_tree(process.pid)
            process.wait(PATIENCE)
            log.close()

    @contextlib.contextmanager
    def searcher(self) -> Iterator[Callable[[str], list[dict[str, Any]]]]:
        """A serving process that stays: call it with words, get what it finds now."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.searcher"],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None

        def ask(words: str) -> list[dict[str, Any]]:
            stdin.write(words + "\n")
            stdin.flush()
            found: list[dict[str, Any]] = json.loads(stdout.readline())
            return found

        try:
            yield ask
        finally:
            stdin.close()
            process.wait(PATIENCE)
            stdout.close()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the database holds, read past the application."""
        return database_rows(self.database_url, query)

    def count(self, table: str) -> int:
        return int(self.rows(f"SELECT count(*) FROM {table}")[0][0])

    def write_csv(self, rows: list[dict[str, str]], name: str = "metadata.csv") -> Path:
        path = self.data / name
        with path.open("w", newline="") as stream:
            columns = ["id", "image_filename", "caption", "title", "tags", "category"]
            writer = csv.DictWriter(stream, columns)
            writer.writeheader()
            writer.writerows(rows)
        return path


def copy_opened(data: Path) -> None:
    """Fill a data folder, and its database on servers, with what a first start leaves."""
    opened = Path(_opened().name)
    if on_servers():
        copy_database(opened, data)
    shutil.copytree(opened, data, dirs_exist_ok=True)


@functools.cache
def _opened() -> tempfile.TemporaryDirectory[str]:
    """The data folder that copies are made of, gone with this process."""
    folder = tempfile.TemporaryDirectory(prefix="mmsearch-opened-")
    Installation(Path(folder.name), made="anew")
    return folder


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Poll; a test that waits in vain fails and says for what."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE:.0f} s in vain for: {what}"
        time.sleep(0.05)


def kill_tree(pid: int) -> None:
    """`kill -9` a process and everything under it, at once."""
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for process in [*parent.children(recursive=True), parent]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
