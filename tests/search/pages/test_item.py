"""The item page: picture, facts, state, what resembles it."""

from __future__ import annotations

import html
from collections.abc import Callable
from urllib.parse import quote

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from catalog.models import Item
from embeddings import worker
from embeddings.models import EmbeddingJob
from search.answer.answering import search
from search.answer.syntax import ask
from tests.encoders import POISON
from tests.search.pages.page_reading import links, text_of, tiles

MakeItem = Callable[..., Item]


def test_item_page_shows_facts_and_links_its_filters(client: Client, make_item: MakeItem) -> None:
    item = make_item(
        item_id="cup",
        colour="red",
        title="Cup",
        caption="a cup\nof tea",
        category="kitchen",
        tags=("tea", "hot & wet"),
    )
    worker.drain()
    response = client.get("/items/cup/")
    page = text_of(response)
    assert "<h1>Cup</h1>" in page
    assert "a cup<br>of tea" in page
    assert "Indexed: it can be found" in page
    assert "32 × 32 pixels" in page
    assert f'<a href="{item.image.url}" title="Open the original">' in page
    assert links(response)["kitchen"] == "/?category=kitchen"
    assert links(response)["hot & wet"] == "/?tag=hot+%26+wet"


def test_item_page_shows_similar_items_as_the_search_ranks_them(
    client: Client, indexed_items: dict[str, Item]
) -> None:
    found = search(ask(like="red", top_n=12))
    response = client.get("/items/red/")
    assert tiles(response) == [hit.item.item_id for hit in found.hits]
    assert links(response)["More like this"] == "/?like=red"


@pytest.mark.parametrize(
    "item_id",
    [
        "a b",
        "dotted.name.v2",
        "früh-🍎",
        "تفاحة",
        "a&b=c;d",
        "x'y\"z",
        "<i>",
        "(1)+[2]",
        "~@!$,*:",
        "猫" * 200,
    ],
)
def test_item_page_opens_for_any_id(client: Client, make_item: MakeItem, item_id: str) -> None:
    item = make_item(item_id=item_id, colour="red", title="Odd")
    worker.drain()
    assert tiles(client.get("/")) == [item_id]
    for address in (item.get_absolute_url(), f"/items/{quote(item_id, safe='')}/"):
        response = client.get(address)
        assert response.status_code == 200
        assert f"<code>{html.escape(item_id)}</code>" in text_of(response)


@pytest.mark.django_db
@pytest.mark.parametrize("item_id", ["nobody", "%00", "%ff"])
def test_item_page_of_an_unknown_id_is_a_404_in_words(client: Client, item_id: str) -> None:
    response = client.get(f"/items/{item_id}/")
    assert response.status_code == 404
    assert "There is nothing at this address." in text_of(response)


def test_item_page_of_a_pending_item_follows_it_with_and_without_scripts(
    client: Client, make_item: MakeItem
) -> None:
    make_item(item_id="a b", colour="red")
    page = text_of(client.get("/items/a b/"))
    assert "Waiting to be indexed." in page
    assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in page
    assert 'data-watch="/api/v1/items/a%20b/"' in page
    assert client.get("/api/v1/items/a%20b/").json()["state"] == "pending"
    worker.drain()
    page = text_of(client.get("/items/a b/"))
    assert "Indexed: it can be found" in page
    assert "http-equiv" not in page
    assert "data-watch" not in page


def test_item_page_of_a_failed_item_says_why(client: Client, make_item: MakeItem) -> None:
    item = make_item(item_id="bad", caption=POISON)
    for _ in range(3):
        EmbeddingJob.objects.filter(item=item).update(run_after=item.created_at)
        worker.drain()
    page = text_of(client.get("/items/bad/"))
    assert "Failed: " in page
    assert "This text is poison." in page


def test_item_page_of_a_caption_without_picture(
    client: Client, indexed_items: dict[str, Item]
) -> None:
    page = text_of(client.get("/items/words/"))
    assert "No picture" in page
    assert "a quiet evening" in page


def test_item_page_query_count_does_not_grow_with_similar_items_or_tags(
    client: Client, make_item: MakeItem
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert client.get("/items/first/").status_code == 200
        return len(captured)

    make_item(item_id="first", colour="red", tags=("one",))
    make_item(colour="red", tags=("one",))
    worker.drain()
    client.get("/items/first/")  # opens the index
    few = queries()
    make_item(item_id="first", tags=("one", "two", "three"), caption="red")
    make_item(colour="blue", tags=("one", "two"))
    make_item(colour="red", tags=("four",))
    worker.drain()
    client.get("/items/first/")  # follows the change log
    assert queries() == few


def test_item_page_links_staff_to_the_admin(
    client: Client, admin_client: Client, make_item: MakeItem
) -> None:
    item = make_item(item_id="cup")
    assert "Edit in the admin" not in links(client.get("/items/cup/"))
    address = links(admin_client.get("/items/cup/"))["Edit in the admin"]
    assert address == f"/admin/catalog/item/{item.pk}/change/"
