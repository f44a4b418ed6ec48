"""What one process of a host (of a data folder) does at a time: locks that die with it."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from typing import IO

from django.conf import settings


@contextlib.contextmanager
def only_one(name: str) -> Iterator[bool]:
    """Whether no other process of this host is inside; it stays so to the end of the block."""
    with _open(name) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def is_taken(name: str) -> bool:
    """Whether a process of this host is inside."""
    with _open(name) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _open(name: str) -> IO[bytes]:
    stream: IO[bytes] = (settings.MMSEARCH_DATA_DIR / f"{name}.lock").open("ab")
    return stream
