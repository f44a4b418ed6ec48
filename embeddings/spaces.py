"""Which space is active, and which items lack vectors in one."""

from __future__ import annotations

import dataclasses

from django.db import connection
from django.db.models import OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from catalog.models import Item
from embeddings.backends import default_encoder
from embeddings.models import Embedding, EmbeddingSpace, VectorChange
from embeddings.parts import PARTS

_HEAD = (
    "SELECT s.id, s.fingerprint, s.log_start,"  # noqa: S608  the names are our own tables
    f" (SELECT MAX(c.seq) FROM {VectorChange._meta.db_table} c WHERE c.space_id = s.id)"
    f" FROM {EmbeddingSpace._meta.db_table} s WHERE s.state = %s"
)


class SpaceError(Exception):
    """The spaces in the database do not fit what was asked; the message names the mend."""


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


def is_embedded(space: EmbeddingSpace) -> Q:
    """Items of which `space` has all that it covers, as it is now, and nothing that is gone.

    Of those that have nothing it covers, none is.
    """
    level, covered = Q(), Q()
    for modality in space.covers:
        column = PARTS[modality].hash_field
        vector = Embedding.objects.filter(space=space, item=OuterRef("pk"), modality=modality)
        level &= Q(**{column: Coalesce(Subquery(vector.values("content_hash")), Value(""))})
        covered |= ~Q(**{column: ""})
    return level & covered


def items_lacking_vectors(space: EmbeddingSpace) -> QuerySet[Item]:
    """Items that are to be embedded in `space`, whether or not there is a job for it."""
    return Item.objects.filter(~is_embedded(space))
