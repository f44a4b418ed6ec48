"""Looking around without a question: the newest items, under the filters of the search page."""

from __future__ import annotations

import dataclasses
from typing import Final

from django.db.models import Count

from catalog.models import Item
from search.services import FACET_VALUES

CATEGORY_DEPTH: Final = 5_000
"""Newest items among which categories are counted, so that a page costs the same at any size."""


@dataclasses.dataclass(frozen=True)
class Browsed:
    items: list[Item]
    """Newest first."""
    total: int
    """How many items the filters allow."""


def browse(*, category: str, tags: tuple[str, ...], offset: int, limit: int) -> Browsed:
    """One page of the catalogue, newest first."""
    items = Item.objects.order_by("-pk")
    if category:
        items = items.filter(category=category)
    for tag in tags:
        items = items.filter(tags__name=tag)
    return Browsed(items=list(items[offset : offset + limit]), total=items.count())


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
