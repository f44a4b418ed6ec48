"""Which space is active, and how spaces open and retire."""

from __future__ import annotations

import dataclasses
import logging

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, QuerySet

from catalog.models import Item
from embeddings.backends import default_encoder
from embeddings.models import Embedding, EmbeddingJob, EmbeddingSpace, VectorChange

logger = logging.getLogger(__name__)

_HEAD = (
    "SELECT s.id, s.fingerprint, s.log_start,"  # noqa: S608  the names are our own tables
    f" (SELECT MAX(c.seq) FROM {VectorChange._meta.db_table} c WHERE c.space_id = s.id)"
    f" FROM {EmbeddingSpace._meta.db_table} s WHERE s.state = %s"
)


class SpaceError(Exception):
    """The spaces in the database do not fit what was asked; the message names the mend."""


@dataclasses.dataclass(frozen=True)
class Opening:
    """What opening the configured model's space did."""

    space: EmbeddingSpace
    previous: EmbeddingSpace | None
    """The space that was active before, where another one was."""
    enqueued: int
    """Items that the space lacked."""

    def __str__(self) -> str:
        if self.previous is None:
            return f"Vectors are made by {self.space}; {self.enqueued:,} items wait."
        return (
            f"The model changed from {self.previous} to {self.space}: {self.enqueued:,} items are"
            " embedded anew in the background. The old vectors stay until"
            f" `manage.py retire_space {self.previous.pk}`."
        )


def active_space() -> EmbeddingSpace | None:
    """The active space, or None before any model was opened."""
    return EmbeddingSpace.objects.filter(state=EmbeddingSpace.State.ACTIVE).first()


@dataclasses.dataclass(frozen=True)
class SpaceHead:
    """The active space and the extent of its change log."""

    space_id: int
    log_start: int
    """Changes up to this `seq` are pruned."""
    log_end: int
    """Last `seq`."""


def require_active_space() -> EmbeddingSpace:
    """The active space, checked to be the configured encoder's.

    Raises SpaceError where no space is open, or another model's: vectors never mix.
    """
    return EmbeddingSpace.objects.get(pk=require_head().space_id)


def require_head() -> SpaceHead:
    """Like `require_active_space`, for every search: one plain statement."""
    with connection.cursor() as cursor:
        cursor.execute(_HEAD, [EmbeddingSpace.State.ACTIVE.value])
        row = cursor.fetchone()
    if row is None:
        raise SpaceError("No model is open yet. Start the application once, or run `open_space`.")
    space_id, fingerprint, log_start, last = row
    description = default_encoder().describe()
    if fingerprint != description.fingerprint:
        raise SpaceError(
            f"The index holds vectors of {active_space()}, but this process is configured for"
            f" {description.model} {description.precision} ({description.dimension} dimensions)."
            " Restart with the same MMSEARCH_MODEL everywhere."
        )
    return SpaceHead(space_id, log_start, max(last or 0, log_start))


def open_space() -> Opening:
    """Make the configured encoder's space the active one and enqueue what it lacks.

    Raises EncoderError where the model cannot be found.
    """
    from embeddings import jobs  # jobs needs the active space: imported here to break the circle

    description = default_encoder().describe()
    with transaction.atomic():
        previous = active_space()
        if previous is not None and previous.fingerprint == description.fingerprint:
            return Opening(previous, None, jobs.enqueue_missing(previous))
        if previous is not None:
            previous.state = EmbeddingSpace.State.BUILDING
            previous.save(update_fields=["state"])
        space, _ = EmbeddingSpace.objects.update_or_create(
            fingerprint=description.fingerprint,
            defaults={
                "model": description.model,
                "revision": description.revision,
                "precision": description.precision,
                "preprocessing": description.preprocessing,
                "dimension": description.dimension,
                "state": EmbeddingSpace.State.ACTIVE,
            },
        )
        opening = Opening(space, previous, jobs.enqueue_missing(space))
    logger.info("%s", opening)
    return opening


def retire_space(space: EmbeddingSpace) -> int:
    """Delete a space's vectors and jobs; returns the count of vectors. The row stays as a record.

    Raises SpaceError for the active space.
    """
    with transaction.atomic():
        space.refresh_from_db()
        if space.state == EmbeddingSpace.State.ACTIVE:
            raise SpaceError(f"{space} is in use. Start with another MMSEARCH_MODEL first.")
        deleted, _ = Embedding.objects.filter(space=space).delete()
        EmbeddingJob.objects.filter(space=space).delete()
        VectorChange.objects.filter(space=space).delete()
        space.state = EmbeddingSpace.State.RETIRED
        space.save(update_fields=["state"])
    logger.info("Retired %s: %d vectors deleted", space, deleted)
    return deleted


def items_lacking_vectors(space: EmbeddingSpace) -> QuerySet[Item]:
    """Items whose present content has no vector in `space`."""
    return Item.objects.filter(
        ~Exists(
            Embedding.objects.filter(
                space=space, item=OuterRef("pk"), content_hash=OuterRef("content_hash")
            )
        )
    )
