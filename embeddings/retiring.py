"""How a space is given up: its rows go in short transactions, its model where nobody uses it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, Final

from django.conf import settings
from django.db import transaction

from embeddings.encoders.finding.outdated import delete_prepared
from embeddings.models import Embedding, EmbeddingJob, EmbeddingSpace, SpaceSwitch, VectorChange
from embeddings.spaces import SpaceError

logger = logging.getLogger(__name__)

BATCH: Final = 5_000
"""Rows a transaction: others write in between."""


def retire_space(space: EmbeddingSpace) -> None:
    """Let nothing be embedded for `space` any more; it stays as a record.

    Its rows are still there: :func:`free` deletes them, here or in the worker. Raises SpaceError
    for the active space.
    """
    with transaction.atomic():
        space = EmbeddingSpace.objects.select_for_update().get(pk=space.pk)
        if space.state == EmbeddingSpace.State.ACTIVE:
            raise SpaceError(
                f"Space {space.pk}, {space}, answers searches. Let another one answer first:"
                " `manage.py activate_space NUMBER`."
            )
        SpaceSwitch.objects.filter(target=space).delete()
        space.state = EmbeddingSpace.State.RETIRED
        space.save(update_fields=["state"])
    logger.info("Space %d, %s, is retired", space.pk, space)


def count_rows(space: EmbeddingSpace) -> int:
    """How many rows of a space are there."""
    return sum(rows.filter(space=space).count() for rows in _rows())


def free(space: EmbeddingSpace) -> Iterator[int]:
    """Delete what a retired space still has; yields how many rows went, batch by batch.

    Whoever stops in the middle, or dies, leaves the rest to the next call. At the end its prepared
    model goes, where no live space has it.
    """
    for manager in _rows():
        rows = manager.filter(space=space).order_by("pk")
        while pks := list(rows.values_list("pk", flat=True)[:BATCH]):
            with transaction.atomic():
                deleted = manager.filter(pk__in=pks).delete()[0]
            yield deleted
    live = EmbeddingSpace.objects.exclude(state=EmbeddingSpace.State.RETIRED)
    if not live.filter(model=space.model, revision=space.revision).exists():
        delete_prepared(settings.MMSEARCH_MODEL_DIR, space.model, space.revision)


def half_freed() -> list[EmbeddingSpace]:
    """Retired spaces that still have rows."""
    retired = EmbeddingSpace.objects.filter(state=EmbeddingSpace.State.RETIRED)
    return [
        space for space in retired if any(rows.filter(space=space).exists() for rows in _rows())
    ]


def _rows() -> tuple[Any, ...]:
    return EmbeddingJob.objects, Embedding.objects, VectorChange.objects
