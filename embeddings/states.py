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
from embeddings.spaces import active_space


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
            When(Exists(_current(space)), then=Value(ItemState.INDEXED.value)),
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
    jobs = EmbeddingJob.objects.filter(space=space)
    failed = jobs.filter(failed_at__isnull=False).count()
    embedded = Embedding.objects.filter(space=space).order_by().values("item").distinct().count()
    waiting_again = jobs.filter(
        Exists(Embedding.objects.filter(space=space, item=OuterRef("item")))
    ).count()
    indexed = embedded - waiting_again
    return StateCounts(
        items=items, indexed=indexed, pending=max(items - indexed - failed, 0), failed=failed
    )


def _current(space: EmbeddingSpace) -> QuerySet[Embedding]:
    return Embedding.objects.filter(
        space=space, item=OuterRef("pk"), content_hash=OuterRef("content_hash")
    )
