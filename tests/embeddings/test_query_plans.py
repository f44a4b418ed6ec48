"""Queries over all items must stay linear: each looks an item's rows up by the item."""

from __future__ import annotations

import pytest
from django.db.models import QuerySet

from catalog.models import Item
from embeddings.models import EmbeddingSpace
from embeddings.spaces import items_lacking_vectors
from embeddings.states import ItemState, in_state


@pytest.mark.parametrize("name", ["lacking", "indexed", "failed"])
def test_subqueries_search_by_space_and_item(space: EmbeddingSpace, name: str) -> None:
    queries: dict[str, QuerySet[Item]] = {
        "lacking": items_lacking_vectors(space),
        "indexed": in_state(Item.objects.all(), ItemState.INDEXED),
        "failed": in_state(Item.objects.all(), ItemState.FAILED),
    }

    plan = queries[name].explain().splitlines()

    searches = [line for line in plan if "SEARCH" in line]
    assert searches
    assert all("(space_id=? AND item_id=?" in line for line in searches), plan
