"""What django-q2 runs for the index."""

from __future__ import annotations

import logging

from django.conf import settings

from catalog.resources import return_freed_memory
from embeddings import per_space
from embeddings.retiring import free, half_freed
from embeddings.spaces import live_spaces
from search.index import item_columns, maintenance, remote_index
from search.index.space_index import index_of, let_go_of_index
from search.index.stores.remote.engine import StoreUnavailable

logger = logging.getLogger(__name__)


def maintain_index() -> int:
    """Write due snapshots and prune the log, of every live space; returns how many snapshots.

    One process at a time.
    """
    written = 0
    with maintenance.the_only_one() as is_ours:
        if not is_ours:
            return 0
        maintenance.sweep_folders()
        item_columns.prune_log()
        spaces = live_spaces()
        per_space.let_go(keep=[space.pk for space in spaces])
        for space in spaces:
            index = index_of(space)
            try:
                index.tell()
                index.catch_up()
            except StoreUnavailable as exc:
                logger.warning("%s", exc)
                continue
            snapshots = maintenance.compact(index)
            if pruned := maintenance.prune_log(index):
                logger.info("Change log pruned by %d lines", pruned)
            if snapshots:
                let_go_of_index(space)  # gives back the pages of the files just written
            written += snapshots
        for space in half_freed():
            deleted = sum(free(space))
            maintenance.delete_index(space)
            logger.info("Space %d, %s: %d rows deleted", space.pk, space, deleted)
        for space in remote_index.spaces_to_drop():
            maintenance.delete_index(space)
    return_freed_memory()
    return written


def answer_shadow_queries() -> int:
    """Ask a share of live queries of the space beside the active one, too; returns how many."""
    from search.comparison.shadowing import answer_drawn  # it searches, which maintenance does not

    return answer_drawn() if settings.MMSEARCH_SHADOW else 0
