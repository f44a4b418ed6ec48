"""Ctrl-C within a test's own process."""

from __future__ import annotations

import signal


def press_ctrl_c() -> None:
    """Let the handler that a command has put up do what it does.

    No signal is sent: libraries that prepare models, once in a process, do not survive one.
    """
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):
        raise TypeError("Nobody waits for Ctrl-C here.")
    handler(signal.SIGINT, None)
