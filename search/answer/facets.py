"""Categories and tags counted over the best matches."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Final

from catalog.models import Item

FACET_DEPTH: Final = 100
"""Best matches over which categories and tags are counted."""
FACET_VALUES: Final = 20
"""Values shown a facet."""


@dataclasses.dataclass(frozen=True)
class Facets:
    """(value, count) over the best matches, most frequent first."""

    categories: tuple[tuple[str, int], ...] = ()
    tags: tuple[tuple[str, int], ...] = ()


def count_facets(pks: list[int]) -> Facets:
    """Facets of the items with these keys."""
    items = Item.objects.filter(pk__in=pks).order_by()
    categories = Counter(filter(None, items.values_list("category", flat=True)))
    tags = Counter(filter(None, items.values_list("tags__name", flat=True)))
    return Facets(
        tuple(categories.most_common(FACET_VALUES)), tuple(tags.most_common(FACET_VALUES))
    )
