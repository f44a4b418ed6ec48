"""Categories and tags counted over the hits."""

from __future__ import annotations

import dataclasses
from typing import Final

from search.index.item_columns import ItemColumns
from search.index.stores.base import Ids

FACET_VALUES: Final = 20
"""Values shown a facet."""

Counts = tuple[tuple[str, int], ...]


@dataclasses.dataclass(frozen=True)
class Facets:
    """(value, count) over all hits, most frequent first, then by name."""

    categories: Counts = ()
    tags: Counts = ()


def count_facets(columns: ItemColumns, ids: Ids) -> Facets:
    """Facets of the items with these keys, ascending."""
    return Facets(
        _most_frequent(columns.counted_categories(ids)), _most_frequent(columns.counted_tags(ids))
    )


def _most_frequent(counts: dict[str, int]) -> Counts:
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return tuple(ordered[:FACET_VALUES])
