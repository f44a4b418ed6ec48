"""Processes: whose they are, what they take, how they end."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil


def family(pid: int) -> list[psutil.Process]:
    """A process and everything under it; none where it is gone."""
    try:
        top = psutil.Process(pid)
        return [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def kill(processes: Iterable[psutil.Process]) -> None:
    """`kill -9` of all that are still there."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def memory_mb(processes: Iterable[psutil.Process]) -> float:
    """Proportional memory (PSS: shared pages are divided among their users) in MB."""
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total / 2**20


def anonymous_mb(processes: Iterable[psutil.Process]) -> float:
    """The part of it in MB that is no file's: pages of mapped files come and go with their use."""
    total = 0
    for process in processes:
        with contextlib.suppress(OSError):
            rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii")
            found = re.search(r"^Pss_Anon: +(\d+) kB$", rollup, re.MULTILINE)
            total += int(found[1]) if found else 0
    return total / 2**10


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """Processor time that they used so far."""
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


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
