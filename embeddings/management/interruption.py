"""Ctrl-C in a long command: it ends after what is in hand."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterable, Iterator
from typing import Final, TypeVar

INTERRUPTED: Final = 130
"""Exit status."""

Thing = TypeVar("Thing")


def until(stop: threading.Event, records: Iterable[Thing]) -> Iterator[Thing]:
    for record in records:
        if stop.is_set():
            return
        yield record


@contextlib.contextmanager
def stoppable() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; a second one interrupts at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def on_signal(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, previous[signal.Signals(number)])

    previous = {n: signal.signal(n, on_signal) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
