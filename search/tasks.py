"""What django-q2 runs for the index."""

from __future__ import annotations

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
    with maintenance.the_only_one() as is_ours:
        if not is_ours:
            return 0
        maintenance.sweep_folders()
        index = current_index()
        index.catch_up()
        written = maintenance.compact(index)
        if pruned := maintenance.prune_log(index):
            logger.info("Change log pruned by %d lines", pruned)
        if written:
            reset_index()  # gives back the pages of the files that were just written
        return written


def answer_shadow_queries() -> int:
    """Ask a share of live queries of the space beside the active one, too; returns how many."""
    from search.comparison.shadowing import answer_drawn

    return answer_drawn() if settings.MMSEARCH_SHADOW else 0
