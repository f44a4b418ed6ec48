"""Processor and memory of processes under test."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

import psutil


class Usage:
    """Processor and memory of some processes over a stretch of time."""

    def __init__(self, processes: Sequence[psutil.Process]) -> None:
        self._processes = processes
        self._started = time.perf_counter()
        self._before = self._seconds()

    def read(self) -> dict[str, float]:
        """CPU since the start in percent of one core, and memory now (PSS) in MB."""
        elapsed = time.perf_counter() - self._started
        return {
            "cpu": 100 * (self._seconds() - self._before) / elapsed,
            "memory_mb": memory_mb(self._processes),
        }

    def _seconds(self) -> float:
        total = 0.0
        for process in self._processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total


def memory_mb(processes: Sequence[psutil.Process]) -> float:
    """Proportional memory (PSS: shared pages are divided among their users) in MB."""
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total / 2**20
