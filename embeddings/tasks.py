"""What django-q2 runs: short functions over primitives, safe to run twice."""

from __future__ import annotations

import fcntl
import logging
import time
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.utils import timezone

from catalog.sweeping import GRACE, sweep_pictures
from embeddings import jobs, liveness, worker
from embeddings.encoders.finding.outdated import sweep_prepared
from embeddings.models import EmbeddingSpace
from embeddings.spaces import active_space

logger = logging.getLogger(__name__)

FULL_LOOK_EVERY: Final = timedelta(hours=1)
LONGEST_TRANSACTION: Final = timedelta(minutes=1)
"""An item may be seen that long after the time that it says it was saved at."""
TIME_SLICE: Final = 60.0
"""Seconds a task drains before another follows it; well below the timeout of a task."""

_looked: Final[dict[str, datetime]] = {}


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
    """Find what a lost nudge or a dead process left behind; returns how many were enqueued.

    The first in a process looks at all items, as does one each hour, the others at those that were
    saved since the last.
    """
    space = active_space()
    if space is None:
        return 0
    reclaimed = jobs.reclaim_dead()
    now = timezone.now()
    since = _looked.get("at saved items")
    if since is None or now - _looked["at all items"] > FULL_LOOK_EVERY:
        since, _looked["at all items"] = None, now
    enqueued = jobs.enqueue_missing(space, since=since)
    _looked["at saved items"] = now - LONGEST_TRANSACTION
    if reclaimed or enqueued:
        logger.info("Sweep: %d jobs taken back, %d items enqueued", reclaimed, enqueued)
    if not enqueued and jobs.claimable(space).exists():
        jobs.nudge()
    return enqueued


def sweep_files(grace: float = GRACE) -> int:
    """Delete files that nothing names any more; returns how many files and folders."""
    spaces = EmbeddingSpace.objects.exclude(state=EmbeddingSpace.State.RETIRED)
    in_use = set(spaces.values_list("model", "revision"))
    prepared = sweep_prepared(settings.MMSEARCH_MODEL_DIR, in_use=in_use, grace=grace)
    return prepared + sweep_pictures(grace=grace)
