"""Whether a worker is alive on this data directory: a lock that dies with its process."""

from __future__ import annotations

import fcntl
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from typing import IO

from django.conf import settings

_held: list[IO[bytes]] = []
_stopping = RawValue("b", 0)  # shared by the forks; without a lock that a killed one could keep


def stop() -> None:
    """Ask this process and all forked from it to end long work soon."""
    _stopping.value = 1


def is_stopping() -> bool:
    """True once this worker was asked to stop."""
    return bool(_stopping.value)


def _lock_file() -> Path:
    return settings.MMSEARCH_DATA_DIR / "worker.lock"


def hold() -> None:
    """Hold the lock, shared with other workers, until this process ends."""
    stream = _lock_file().open("ab")
    fcntl.flock(stream, fcntl.LOCK_SH)
    _held.append(stream)


def worker_is_alive() -> bool:
    """True while any worker process holds the lock."""
    with _lock_file().open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
