"""`POST /api/v1/items/bulk-delete/`."""

from __future__ import annotations

import pytest
from rest_framework.test import APIClient

from catalog.models import Item
from embeddings.models import EmbeddingSpace
from search.api import bulk_delete

DELETE = "/api/v1/items/bulk-delete/"


def test_bulk_delete_says_how_many_went_and_which_were_unknown(
    api: APIClient, indexed_items: dict[str, Item]
) -> None:
    body = {"item_ids": ["red", "nobody", "words", "red"]}
    answer = api.post(DELETE, body)
    assert (answer.status_code, answer.json()) == (200, {"deleted": 2, "unknown": ["nobody"]})
    assert api.post(DELETE, body).json() == {"deleted": 0, "unknown": ["red", "nobody", "words"]}
    found = api.get("/api/v1/search/", {"q": "red", "top_n": "10"}).json()["results"]
    assert {result["item_id"] for result in found} == {"green", "blue"}


def test_bulk_delete_finds_more_ids_than_a_statement_takes(
    api: APIClient, space: EmbeddingSpace
) -> None:
    Item.objects.bulk_create(Item(item_id=f"i{n}", caption="x") for n in range(2_000))
    ids = [f"i{n}" for n in range(2_000)]
    assert api.post(DELETE, {"item_ids": ids}).json() == {"deleted": 2_000, "unknown": []}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"item_ids": []},
        {"item_ids": "red"},
        {"item_ids": [5]},
        {"item_ids": None},
        {"item_ids": ["red"], "dry_run": True},
        ["red"],
    ],
)
def test_bulk_delete_refuses_what_is_no_list_of_ids(
    api: APIClient, indexed_items: dict[str, Item], body: object
) -> None:
    assert api.post(DELETE, body).status_code == 400
    assert Item.objects.count() == 4


def test_bulk_delete_refuses_too_many_ids(
    api: APIClient, space: EmbeddingSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = api.post(DELETE, {"item_ids": ["x"] * (bulk_delete.MAX_IDS + 1)})
    assert answer.status_code == 400
    assert "10000" in str(answer.json()["item_ids"])
