"""Pending, indexed or failed: derived from rows, stored nowhere."""

from __future__ import annotations

import dataclasses
import enum

from django.db.models import (
    Case,
    CharField,
    Exists,
    OuterRef,
    QuerySet,
    Subquery,
    TextField,
    Value,
    When,
)
from django.db.models.functions import Coalesce

from catalog.models import Item
from embeddings.models import Embedding, EmbeddingJob, EmbeddingSpace
from embeddings.spaces import active_space, is_embedded


class ItemState(enum.StrEnum):
    PENDING = "pending"
    INDEXED = "indexed"
    FAILED = "failed"


@dataclasses.dataclass(frozen=True)
class StateCounts:
    """How many items there are, and in which state; the three states add up."""

    items: int
    indexed: int
    pending: int
    failed: int


def with_state(items: QuerySet[Item]) -> QuerySet[Item]:
    """Annotate `state` (an ItemState value) and `error` (text, empty unless failed)."""
    space = active_space()
    if space is None:
        return items.annotate(
            state=Value(ItemState.PENDING.value, CharField()), error=Value("", TextField())
        )
    jobs = EmbeddingJob.objects.filter(space=space, item=OuterRef("pk"))
    failures = jobs.filter(failed_at__isnull=False)
    return items.annotate(
        state=Case(
            When(Exists(failures), then=Value(ItemState.FAILED.value)),
            When(Exists(jobs), then=Value(ItemState.PENDING.value)),
            When(is_embedded(space), then=Value(ItemState.INDEXED.value)),
            default=Value(ItemState.PENDING.value),
            output_field=CharField(),
        ),
        error=Coalesce(Subquery(failures.values("error")[:1]), Value(""), output_field=TextField()),
    )


def in_state(items: QuerySet[Item], state: ItemState) -> QuerySet[Item]:
    """The items in one state."""
    wanted = {"state": state.value}  # an annotation, which the type checker does not know
    return with_state(items).filter(**wanted)


def counts() -> StateCounts:
    """Count items by state in the active space."""
    items = Item.objects.count()
    space = active_space()
    if space is None:
        return StateCounts(items=items, indexed=0, pending=items, failed=0)
    waiting, failed = _jobs(space)
    embedded = Embedding.objects.filter(space=space).order_by().values("item").distinct().count()
    # Whatever has no job has vectors, but for what a sweep is still to find.
    indexed = max(min(embedded, items - waiting - failed), 0)
    return StateCounts(
        items=items, indexed=indexed, pending=max(items - indexed - failed, 0), failed=failed
    )


def waiting() -> int:
    """How many items are pending, by the queue alone: cheap to ask for again and again."""
    space = active_space()
    return Item.objects.count() if space is None else _jobs(space)[0]


def _jobs(space: EmbeddingSpace) -> tuple[int, int]:
    """How many jobs wait or are in work, and how many failed; each counted in an index."""
    jobs = EmbeddingJob.objects.filter(space=space)
    failed = jobs.filter(failed_at__isnull=False).count()
    return jobs.count() - failed, failed
