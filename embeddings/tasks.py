"""What django-q2 runs: short functions over primitives, safe to run twice."""

from __future__ import annotations

import logging
from typing import Final

from django.conf import settings

from catalog.sweeping import GRACE, sweep_pictures
from embeddings import jobs, worker
from embeddings.encoders.finding.outdated import sweep_prepared
from embeddings.models import EmbeddingSpace
from embeddings.spaces import active_space

logger = logging.getLogger(__name__)

TIME_SLICE: Final = 3.0
"""Seconds a task drains before it hands over: how long a stop waits at most."""


def embed_pending() -> int:
    """Embed what waits, for one time slice; returns how many items were indexed."""
    return worker.drain(seconds=TIME_SLICE, hand_over=jobs.nudge).indexed


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


def sweep_files(grace: float = GRACE) -> int:
    """Delete files that nothing names any more; returns how many files and folders."""
    spaces = EmbeddingSpace.objects.exclude(state=EmbeddingSpace.State.RETIRED)
    in_use = set(spaces.values_list("model", "revision"))
    prepared = sweep_prepared(settings.MMSEARCH_MODEL_DIR, in_use=in_use, grace=grace)
    return prepared + sweep_pictures(grace=grace)
