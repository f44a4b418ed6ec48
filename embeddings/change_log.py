"""The change log's one way to be written: `seq` grows in the order in which lines are committed.

A reader goes on from the last `seq` it saw, so that a line committed behind it would never be read.
Whoever writes lines therefore holds the logs of their spaces from before the first line to the end
of the transaction. SQLite has one writer anyway; other databases wait for row locks.

Locks are taken in one order by all, lest two wait for each other: items by key, their words, logs
by space, vectors, jobs.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import QuerySet

from embeddings.models import EmbeddingSpace, VectorChange


def hold_logs(spaces: QuerySet[EmbeddingSpace]) -> list[EmbeddingSpace]:
    """Hold these spaces' logs to the end of the transaction; returns the spaces as they are now.

    Nobody commits, changes or removes a vector of theirs meanwhile. Jobs may come and go.
    """
    return list(spaces.select_for_update(no_key=True).order_by("pk"))


def write_lines(keys: Iterable[tuple[int, str, int]]) -> None:
    """Log that these vectors came, changed or went: (space, modality, item) by primary keys."""
    VectorChange.objects.bulk_create(
        VectorChange(space_id=space_id, modality=modality, vector_item=item_id)
        for space_id, modality, item_id in keys
    )
