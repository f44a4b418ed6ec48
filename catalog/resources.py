"""CPU and memory of this process, for the log."""

from __future__ import annotations

import logging
from typing import Final

import psutil

logger = logging.getLogger(__name__)

_process: Final = psutil.Process()
MB: Final = 2**20


def log_resources(event: str) -> None:
    """Log CPU percent since the last call and memory in MB after `event`."""
    memory = _process.memory_info()
    logger.info(
        "Resources after %s: cpu %.0f %%, memory %.0f MB resident, %.0f MB virtual",
        event,
        _process.cpu_percent(),
        memory.rss / MB,
        memory.vms / MB,
    )
