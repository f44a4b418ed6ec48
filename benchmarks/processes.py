"""Processes: one for a piece of work alone; whose they are, what they take, how they end."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import signal
import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import psutil

from mmsearch_project.processes import follow_parent

P = ParamSpec("P")
R = TypeVar("R")


def apart(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """What `work` gives or raises, done in a new process that does nothing else.

    It shares no interpreter lock with this one, and ends with it.
    """
    with ProcessPoolExecutor(
        1, multiprocessing.get_context("spawn"), follow_parent, (os.getpid(), signal.SIGKILL)
    ) as pool:
        try:
            return pool.submit(work, *args, **kwargs).result()
        except BaseException:
            for process in multiprocessing.active_children():
                process.kill()
            raise


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
    return _sum(processes, lambda process: process.memory_full_info().pss) / 2**20


def anonymous_mb(processes: Iterable[psutil.Process]) -> float:
    """The part of it in MB that is no file's: pages of mapped files come and go with their use."""

    def anonymous(process: psutil.Process) -> float:
        rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii")
        found = re.search(r"^Pss_Anon: +(\d+) kB$", rollup, re.MULTILINE)
        return int(found[1]) if found else 0

    return _sum(processes, anonymous) / 2**10


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """Processor time that they used so far."""
    return _sum(processes, lambda process: sum(process.cpu_times()[:2]))


def _sum(processes: Iterable[psutil.Process], read: Callable[[psutil.Process], float]) -> float:
    """Over those that are still there."""
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess, OSError):
            total += read(process)
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
