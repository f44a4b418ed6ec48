"""Looking around without a question: the newest items, under the filters of the search page."""

from __future__ import annotations

import dataclasses
from typing import Final

from django.db.models import Count, Min

from catalog.models import Item
from search.answer.facets import FACET_VALUES

CATEGORY_DEPTH: Final = 5_000
"""Newest items among which categories are counted, so that a page costs the same at any size."""

NEWEST: Final = 3
"""Tiles of the first page that are the newest items; the others are picked across the catalogue."""
PICKS: Final = 4
"""Neighbouring keys tried for a tile: deleted items leave gaps."""


@dataclasses.dataclass(frozen=True)
class Browsed:
    items: list[Item]
    """Newest first."""
    total: int
    """How many items the filters allow."""


def browse(
    *, categories: tuple[str, ...], tags: tuple[str, ...], offset: int, limit: int
) -> Browsed:
    """One page of the catalogue, newest first."""
    items = Item.objects.with_tags(tags).order_by("-pk")
    if categories:
        items = items.filter(category__in=categories)
    return Browsed(items=list(items[offset : offset + limit]), total=items.count())


def sample(limit: int) -> Browsed:
    """What the first page shows: the newest items, then some from all over the catalogue."""
    items = list(Item.objects.order_by("-pk")[:limit])
    total = Item.objects.count()
    if total > limit:
        items[NEWEST:] = _spread(limit - NEWEST, below=items[NEWEST - 1].pk) or items[NEWEST:]
    return Browsed(items=items, total=total)


def _spread(count: int, *, below: int) -> list[Item]:
    """At most `count` items older than the key `below`, evenly spaced, newest first."""
    low = Item.objects.aggregate(low=Min("pk"))["low"] or 0
    marks = [low + (below - low) * step // count for step in range(count)]
    tried = {mark + pick: mark for mark in marks for pick in range(PICKS) if mark + pick < below}
    found = Item.objects.filter(pk__in=tried).order_by("-pk")
    return sorted({tried[item.pk]: item for item in found}.values(), key=lambda item: -item.pk)


def categories() -> tuple[tuple[str, int], ...]:
    """The largest categories among the newest items, with the number of these items."""
    newest = Item.objects.order_by("-pk").values("pk")[:CATEGORY_DEPTH]
    counted = (
        Item.objects.filter(pk__in=newest)
        .exclude(category="")
        .order_by()
        .values_list("category")
        .annotate(count=Count("pk"))
        .order_by("-count", "category")
    )
    return tuple((name, count) for name, count in counted[:FACET_VALUES])
