"""What django-q2 runs: short functions over primitives, safe to run twice."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.utils import timezone

from catalog.sweeping import GRACE, sweep_pictures
from embeddings import jobs, model_lock, openings, per_space, stopping, switching, worker
from embeddings.encoders.finding.outdated import sweep_prepared
from embeddings.models import EmbeddingSpace, SpaceOpening
from embeddings.one_a_host import only_one
from embeddings.opening import note_complete
from embeddings.overview import outline
from embeddings.spaces import live_spaces

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
    Where another holds the model and has nothing to do, the nudge is for that one.
    """
    until = time.monotonic() + TIME_SLICE
    with only_one("embedding") as is_ours:
        if not is_ours:
            return 0
        if not model_lock.take():
            jobs.nudge()
            return 0
        report = worker.drain(until=lambda: stopping.is_stopping() or time.monotonic() > until)
    # Also for what came after the last claim, whose nudge found the lock held.
    if not stopping.is_stopping() and jobs.is_waiting(worker.usable_spaces()):
        jobs.nudge()
        for line in outline().news:
            logger.info("%s", line)
    else:
        _look_at_spaces()
    return report.indexed


def sweep() -> int:
    """Find what a lost nudge or a dead process left behind; returns how many were enqueued.

    The first in a process looks at all items, as does one each hour, the others at those that were
    saved since the last.
    """
    reclaimed = jobs.reclaim_dead()
    now = timezone.now()
    since = _looked.get("at saved items")
    if since is None or now - _looked["at all items"] > FULL_LOOK_EVERY:
        since, _looked["at all items"] = None, now
    spaces = live_spaces()
    enqueued = sum(jobs.enqueue_missing(space, since=since) for space in spaces)
    _looked["at saved items"] = now - LONGEST_TRANSACTION
    if reclaimed or enqueued:
        logger.info("Sweep: %d jobs taken back, %d items enqueued", reclaimed, enqueued)
    usable = worker.usable_spaces()
    per_space.let_go(keep=[space.pk for space in spaces], unused=0.0)
    if not enqueued and jobs.is_waiting(usable):
        jobs.nudge()
    _look_at_spaces()
    if SpaceOpening.objects.filter(error="").exists():
        openings.nudge()
    return enqueued


def open_asked() -> int:
    """Open the spaces that were asked for; returns how many."""
    with only_one("opening") as is_ours:
        return openings.open_asked() if is_ours else 0


def _look_at_spaces() -> None:
    """Take down which spaces are complete, and make the switch that waits for nothing else."""
    for space in live_spaces():
        note_complete(space)
    switching.advance()


def sweep_files(grace: float = GRACE) -> int:
    """Delete pictures that nothing names any more; returns how many files."""
    return sweep_pictures(grace=grace)


def sweep_models(grace: float = GRACE) -> int:
    """Delete what this host prepared of models that no space uses; returns how many folders."""
    spaces = EmbeddingSpace.objects.exclude(state=EmbeddingSpace.State.RETIRED)
    in_use = set(spaces.values_list("model", "revision"))
    return sweep_prepared(settings.MMSEARCH_MODEL_DIR, in_use=in_use, grace=grace)
