"""What django-q2 runs for the index."""

from __future__ import annotations

import fcntl
import logging

from django.conf import settings

from embeddings.spaces import active_space
from search.index import maintenance
from search.index.space_index import current_index, reset_index

logger = logging.getLogger(__name__)


def maintain_index() -> int:
    """Write due snapshots and prune the log; returns how many snapshots. One process at a time."""
    if active_space() is None:
        return 0
    settings.MMSEARCH_INDEX_DIR.mkdir(parents=True, exist_ok=True)
    with (settings.MMSEARCH_INDEX_DIR / "maintenance.lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        maintenance.sweep_folders()
        index = current_index()
        index.catch_up()
        written = maintenance.compact(index)
        if written:
            pruned = maintenance.prune_log(index)
            logger.info("Change log pruned by %d lines", pruned)
            reset_index()  # gives back the pages of the files that were just written
        return written
