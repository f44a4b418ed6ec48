"""CPU and memory of this process: told to the log, given back to the system."""

from __future__ import annotations

import ctypes
import functools
import logging
import os
from typing import Final

import psutil

logger = logging.getLogger(__name__)

MB: Final = 2**20


@functools.cache
def _process(pid: int) -> psutil.Process:
    """This process; by its id, for a forked child inherits what its parent looked up."""
    return psutil.Process(pid)


def log_resources(event: str) -> None:
    """Log CPU percent since the last call and memory in MB after `event`."""
    process = _process(os.getpid())
    memory = process.memory_info()
    logger.info(
        "Resources after %s: cpu %.0f %%, memory %.0f MB resident, %.0f MB virtual",
        event,
        process.cpu_percent(),
        memory.rss / MB,
        memory.vms / MB,
    )


def return_freed_memory() -> None:
    """Return freed memory, which glibc keeps, to the system; other C libraries do so anyway."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
