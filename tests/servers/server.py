"""A server process that a test may kill and start again under the same address."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

import psutil

from mmsearch_project.processes import follow_parent
from tests.processes import kill_tree, wait_until

NOBODY: Final = "nobody"
"""Whom a server runs as where the caller is root: PostgreSQL refuses root."""


class Server(ABC):
    """Started and ready on entering, gone with its data on leaving, or with this process."""

    name: str
    """What it is called in messages and in the name of its folder."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"mmsearch-{self.name}-"))
        self.user = NOBODY if os.geteuid() == 0 else None
        if self.user is not None:
            shutil.chown(self.folder, self.user)
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where the application finds it; the same after a new start."""

    @property
    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """What starts it, in the foreground."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it takes requests now."""

    @property
    def pid(self) -> int:
        """Of the process that everything else of it is under."""
        assert self._process is not None
        return self._process.pid

    def prepare(self) -> None:  # noqa: B027  not all need it
        """Make what the first start needs."""

    def __enter__(self) -> Self:
        try:
            self.prepare()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.folder)

    def start(self) -> None:
        """Start it and wait until it answers."""
        parent = os.getpid()
        with (self.folder / "log").open("ab") as log:
            process = self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                user=self.user,
                group=None if self.user is None else "nogroup",
                extra_groups=None if self.user is None else [],
                start_new_session=True,
                preexec_fn=lambda: follow_parent(parent, signal.SIGKILL),  # noqa: PLW1509
            )

        def answers() -> bool:
            assert process.poll() is None, (self.folder / "log").read_text()
            return self.answers()

        wait_until(answers, f"{self.name} to answer on port {self.port}")

    def kill(self) -> None:
        """`kill -9` it, and wait until nothing of it is left."""
        if self._process is None:
            return
        members = psutil.Process(self._process.pid).children(recursive=True)
        kill_tree(self._process.pid)
        self._process.wait()
        psutil.wait_procs(members, timeout=30)
        self._process = None

    def run(self, *command: str | Path) -> None:
        """Run a command of the server's as its user, and wait."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            user=self.user,
            group=None if self.user is None else "nogroup",
            extra_groups=None if self.user is None else [],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
