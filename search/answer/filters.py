"""Which items a query's filters allow, and how many of these can be found."""

from __future__ import annotations

import numpy as np

from catalog.models import Item
from search.answer.query import SearchQuery
from search.index.space_index import SpaceIndex
from search.index.stores.base import Ids


def allowed_ids(query: SearchQuery) -> Ids | None:
    """Primary keys of the items that the filters allow, ascending; None without filters."""
    if not query.category and not query.tags:
        return None
    items = Item.objects.with_tags(query.tags).order_by("pk")
    if query.category:
        items = items.filter(category=query.category)
    return np.fromiter(items.values_list("pk", flat=True).iterator(), dtype=np.int64)


def count_searchable(index: SpaceIndex, allowed: Ids) -> int:
    """How many of the items have a vector."""
    found = np.zeros(allowed.size, dtype=bool)
    for store in index.stores.values():
        found |= np.isin(allowed, store.ids(), assume_unique=True)
    return int(found.sum())
