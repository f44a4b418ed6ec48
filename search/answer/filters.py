"""Which items a query's filters allow."""

from __future__ import annotations

import numpy as np

from catalog.models import Item
from catalog.words import items_with
from embeddings.states import in_state
from search.answer.query import Filters, SearchQuery
from search.index.item_columns import ItemColumns, Mask, synced_columns
from search.index.stores.base import Ids, IdSet


def allowed_by(query: SearchQuery) -> IdSet | None:
    """The items that may answer; None where that is all of them."""
    if not (query.filters or query.phrases or query.excluded):
        return None
    columns = synced_columns()
    ids = allowed(columns, query.filters)
    if not (query.phrases or query.excluded):
        return ids
    kept = columns.ids if ids is None else ids.ids
    for phrase in query.phrases:
        kept = common(kept, items_with(phrase))
    for words in query.excluded:
        kept = without(kept, items_with(words))
    return IdSet(kept)


def allowed(columns: ItemColumns, filters: Filters) -> IdSet | None:
    """The items that the filters allow; None where that is all of them."""
    if not filters:
        return None
    if filters.state is None:
        return columns.id_set(filters, lambda: _mask(columns, filters))
    # What a state depends on is not in the catalogue's log.
    items = in_state(Item.objects.order_by("pk"), filters.state)
    keys = np.fromiter(items.values_list("pk", flat=True).iterator(), dtype=np.int64)
    return IdSet(common(columns.ids[_mask(columns, filters)], keys))


def common(one: Ids, other: Ids) -> Ids:
    """Ids in both; ascending and unique, as each of them is."""
    return one[np.isin(one, other)]


def without(ids: Ids, others: Ids) -> Ids:
    """Ids that are not among the others."""
    return ids[~np.isin(ids, others)]


def _mask(columns: ItemColumns, filters: Filters) -> Mask:
    mask = np.ones(columns.ids.size, dtype=np.bool_)
    if filters.categories:
        mask &= columns.in_categories(filters.categories)
    for tag in filters.tags:
        mask &= columns.with_tag(tag)
    if filters.any_tags:
        mask &= np.logical_or.reduce([columns.with_tag(tag) for tag in filters.any_tags])
    for tag in filters.no_tags:
        mask &= ~columns.with_tag(tag)
    for part in filters.has:
        mask &= columns.with_part(part)
    if filters.after is not None:
        mask &= columns.created >= filters.after.timestamp()
    if filters.before is not None:
        mask &= columns.created < filters.before.timestamp()
    return mask
