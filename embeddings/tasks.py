"""What django-q2 runs: short functions over primitives, safe to run twice."""

from __future__ import annotations

import fcntl
import logging
import time
from typing import Final

from django.conf import settings

from embeddings import jobs, liveness, worker
from embeddings.spaces import active_space

logger = logging.getLogger(__name__)

TIME_SLICE: Final = 60.0
"""Seconds a task drains before another follows it; well below the timeout of a task."""


def embed_pending() -> int:
    """Embed what waits; returns how many items were indexed.

    One process of a host at a time: any other returns at once and stays free for sweep and index.
    """
    until = time.monotonic() + TIME_SLICE
    with (settings.MMSEARCH_DATA_DIR / "embedding.lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        report = worker.drain(until=lambda: liveness.is_stopping() or time.monotonic() > until)
    # Also for what came after the last claim, whose nudge found the lock held.
    space = active_space()
    if space is not None and not liveness.is_stopping() and jobs.claimable(space).exists():
        jobs.nudge()
    return report.indexed


def sweep() -> int:
    """Find what a lost nudge or a dead process left behind; returns how many were enqueued."""
    space = active_space()
    if space is None:
        return 0
    reclaimed = jobs.reclaim_dead()
    enqueued = jobs.enqueue_missing(space)
    if reclaimed or enqueued:
        logger.info("Sweep: %d jobs taken back, %d items enqueued", reclaimed, enqueued)
    if not enqueued and jobs.claimable(space).exists():
        jobs.nudge()
    return enqueued
