"""I7: the page, the original endpoint and the API give the same items in the same order."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from django.core.management import call_command
from django.test import Client

from catalog.models import Item
from embeddings import worker
from search.answer.answering import search
from search.answer.syntax import ask

COLOURS = ("red", "green", "blue", "yellow", "purple", "white", "black")


@pytest.fixture
def many_items(make_item: Callable[..., Item]) -> None:
    for number in range(14):
        colour = COLOURS[number % len(COLOURS)]
        make_item(item_id=f"picture-{number}", colour=colour, caption=f"{colour} {number}")
        make_item(item_id=f"caption-{number}", caption=f"some {colour} words {number}")
    worker.drain()


@pytest.mark.usefixtures("many_items")
@pytest.mark.parametrize("words", ["red", "some yellow words", "nothing like it"])
def test_every_way_in_gives_the_same_order(
    client: Client, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = [hit.item.item_id for hit in search(ask(words, top_n=10, all=True)).hits]
    assert len(expected) == 10

    page = client.get("/", {"q": words, "all": "1"}).content.decode()
    shown = list(dict.fromkeys(re.findall(r'href="/items/([^/"]+)/', page)))
    api = client.get("/api/v1/search/", {"q": words, "top_n": "10", "all": "1"}).json()
    original = client.post(
        "/search_text/",
        json.dumps({"query_text": words, "top_n": 10}),
        content_type="application/json",
    ).json()
    call_command("search", words, "--top", "10", "--all", "--json")
    terminal = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    assert shown[:10] == expected
    assert [result["item_id"] for result in api["results"]] == expected
    assert [result["item_id"] for result in original["results"]] == expected
    assert [result["item_id"] for result in terminal] == expected
