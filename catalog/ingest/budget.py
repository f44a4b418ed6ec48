"""How much memory decoding takes in this process: a share is asked for, and waited for in turn."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
from collections import deque
from collections.abc import Iterator
from typing import Final

PATIENCE: Final = 30.0
"""Seconds to wait for memory that other pictures take."""
MAX_WAITING: Final = 16
"""Threads that may wait at once; a web server has more, and needs the others for searching."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_OWN_MAPPING: Final = 4 * 2**20
"""Bytes from which on a block is given back to the system as soon as it is freed."""


class BudgetExhausted(Exception):  # noqa: N818  the machine is busy, nothing failed
    """Too many pictures are being decoded."""


class Budget:
    """Bytes that are lent and come back. First come, first served: none waits for ever."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._used = 0

    @contextlib.contextmanager
    def lend(self, amount: int, total: int) -> Iterator[None]:
        """Hold `amount` of `total` bytes. Raises BudgetExhausted after waiting in vain."""
        with self._changed:
            self._wait(amount, total)
            self._used += amount
        try:
            yield
        finally:
            with self._changed:
                self._used -= amount
                self._changed.notify_all()

    def _wait(self, amount: int, total: int) -> None:
        if len(self._waiting) >= MAX_WAITING:
            raise BudgetExhausted
        ticket = object()
        self._waiting.append(ticket)
        try:
            if not self._changed.wait_for(
                lambda: self._waiting[0] is ticket and self._used + amount <= total,
                PATIENCE,
            ):
                raise BudgetExhausted
        finally:
            self._waiting.remove(ticket)
            self._changed.notify_all()


def give_memory_back() -> None:
    """Have freed pictures go back to the system.

    Left alone, glibc raises its threshold to the largest block it has seen freed, and keeps what
    is smaller. Other C libraries, which have no such call, are left as they are.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _OWN_MAPPING)
            mallopt(_M_TRIM_THRESHOLD, _OWN_MAPPING)
