"""Whether this worker was asked to stop."""

from __future__ import annotations

from multiprocessing.sharedctypes import RawValue

_stopping = RawValue("b", 0)  # shared by the forks; without a lock that a killed one could keep


def stop() -> None:
    """Ask this process and all forked from it to end long work soon."""
    _stopping.value = 1


def is_stopping() -> bool:
    """True once this worker was asked to stop."""
    return bool(_stopping.value)
