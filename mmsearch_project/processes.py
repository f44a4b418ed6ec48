"""Child processes that never outlive whoever started them."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Final

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_libc: Final = ctypes.CDLL(None) if sys.platform == "linux" else None


def follow_parent(parent: int, signum: signal.Signals) -> None:
    """Have the kernel send this process `signum` when its parent, process `parent`, dies.

    A Linux feature; elsewhere this does nothing. It holds across exec, not across fork.
    """
    if _libc is None:
        return
    _libc.prctl(_PR_SET_PDEATHSIG, signum)
    if os.getppid() != parent:  # it died before we asked
        os.kill(os.getpid(), signum)


def _begin(parent: int) -> None:
    """Runs in a new child: it ends with its parent, and a terminal never stops it for printing."""
    follow_parent(parent, signal.SIGTERM)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)


@dataclasses.dataclass
class Child:
    """A supervised process: its command, and the process while there is one."""

    name: str
    command: Sequence[str]
    inherited: Sequence[int] = ()
    """File descriptors that it may use."""
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    """`time.monotonic()` of the last start."""
    deaths: int = 0
    """Unexpected ends in a row, each soon after its start."""

    def start(self) -> None:
        """Start it in a process group of its own: Ctrl-C reaches the supervisor alone.

        The session stays the supervisor's. Where Linux shares the processors out by session
        (autogroup), the application has one share, and niceness counts between its processes.
        """
        parent = os.getpid()
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            self.command,
            pass_fds=self.inherited,
            stdin=subprocess.DEVNULL,
            process_group=0,
            # The supervisor has one thread, so running Python between fork and exec is safe.
            preexec_fn=lambda: _begin(parent),  # noqa: PLW1509
        )

    def status(self) -> int | None:
        """Exit status, negative where a signal ended it; None while it runs."""
        return None if self.process is None else self.process.poll()

    def runs(self) -> bool:
        """True while there is a process."""
        return self.process is not None and self.process.poll() is None

    def terminate(self) -> None:
        """Ask it to end after what it has in hand."""
        if self.process is not None and self.runs():
            self.process.terminate()

    def kill(self) -> None:
        """End it and everything that it started, now."""
        if self.process is not None and self.runs():
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            with contextlib.suppress(ProcessLookupError):
                for _ in range(100):  # a killed process still has to die
                    os.killpg(self.process.pid, 0)  # raises once the group is empty
                    time.sleep(0.05)


def describe_status(status: int) -> str:
    """An exit status in words."""
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with exit status {status}"
