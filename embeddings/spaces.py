"""Which space is active, and which items lack vectors in one."""

from __future__ import annotations

import dataclasses

from django.db import connection
from django.db.models import OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce

from catalog.models import Item
from embeddings.models import Embedding, EmbeddingSpace, VectorChange
from embeddings.parts import PARTS

_NONE = "No model is open yet. Start the application once, or run `manage.py open_space`."
_HEAD = (
    "SELECT s.id, s.log_start,"  # noqa: S608  the names are our own tables
    f" (SELECT MAX(c.seq) FROM {VectorChange._meta.db_table} c WHERE c.space_id = s.id)"
    f" FROM {EmbeddingSpace._meta.db_table} s WHERE "
)


class SpaceError(Exception):
    """The spaces in the database do not fit what was asked; the message names the mend."""


def active_space() -> EmbeddingSpace | None:
    """The active space, or None before any model was opened."""
    return EmbeddingSpace.objects.filter(state=EmbeddingSpace.State.ACTIVE).first()


def require_active_space() -> EmbeddingSpace:
    """The active space. Raises SpaceError where none is."""
    space = active_space()
    if space is None:
        raise SpaceError(_NONE)
    return space


def live_spaces() -> list[EmbeddingSpace]:
    """Those not retired, in the order in which they are fed.

    The active one comes first, then one that was complete before, then the newest.
    """
    order = [EmbeddingSpace.State.ACTIVE, EmbeddingSpace.State.READY, EmbeddingSpace.State.BUILDING]
    spaces = EmbeddingSpace.objects.filter(state__in=order).order_by("-pk")
    return sorted(spaces, key=lambda space: order.index(EmbeddingSpace.State(space.state)))


def find_space(number: int) -> EmbeddingSpace:
    """The live space of that number. Raises SpaceError where there is none."""
    space = EmbeddingSpace.objects.filter(pk=number).first()
    if space is None:
        raise SpaceError(f"There is no space {number}. `manage.py spaces` lists them.")
    if space.state == EmbeddingSpace.State.RETIRED:
        raise SpaceError(
            f"Space {number} is retired: its vectors are gone. `manage.py open_space"
            f" {space.source}` makes them anew."
        )
    return space


@dataclasses.dataclass(frozen=True)
class SpaceHead:
    """A space and the extent of its change log."""

    space_id: int
    log_start: int
    """Changes up to this `seq` are pruned."""
    log_end: int
    """Last `seq`."""


def require_head(space: EmbeddingSpace | None = None) -> SpaceHead:
    """The head of the active space, or of `space`, for every search: one plain statement.

    Raises SpaceError where there is none.
    """
    with connection.cursor() as cursor:
        if space is None:
            cursor.execute(f"{_HEAD} s.state = %s", [EmbeddingSpace.State.ACTIVE.value])
        else:
            cursor.execute(f"{_HEAD} s.id = %s", [space.pk])
        row = cursor.fetchone()
    if row is None:
        raise SpaceError(_NONE if space is None else f"{space} is no more.")
    space_id, log_start, last = row
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
