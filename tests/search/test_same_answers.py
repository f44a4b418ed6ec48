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
@pytest.mark.parametrize(
    "words",
    [
        "red",
        "some yellow words",
        "nothing like it",
        "red -blue",
        '"some red"',
        "2*red 0.5*yellow -words",
        "like:picture-3 green",
        "has:image white",
        "black -tag:sea before:2100",
        "has:caption",
        "🍎 r",
    ],
)
def test_every_way_in_gives_the_same_order(
    client: Client, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = [hit.item.item_id for hit in search(ask(words, top_n=10, all=True)).hits]
    assert expected
    original = client.post(
        "/search_text/",
        json.dumps({"query_text": words, "top_n": 10}),
        content_type="application/json",
    ).json()
    assert [result["item_id"] for result in original["results"]] == expected
    assert in_terminal(capsys, words, "--all") == expected
    assert on_page(client, words, all="1")[:10] == expected
    assert in_api(client, words, all="1") == expected

    relevant = [hit.item.item_id for hit in search(ask(words, top_n=10)).hits]
    assert in_terminal(capsys, words) == relevant
    assert on_page(client, words)[:10] == relevant
    assert in_api(client, words) == relevant


def test_every_way_in_says_that_a_date_is_none(
    client: Client, indexed_items: dict[str, Item], capsys: pytest.CaptureFixture[str]
) -> None:
    said = "before:soon was looked for as words: before: takes a date, like 2024 or 2024-05-31."
    assert said in client.get("/", {"q": "red before:soon"}).content.decode()
    (note,) = client.get("/api/v1/search/", {"q": "red before:soon"}).json()["notes"]
    assert note.startswith(said)
    call_command("search", "red before:soon")
    assert said in capsys.readouterr().err


def on_page(client: Client, words: str, **parameters: str) -> list[str]:
    page = client.get("/", {"q": words, **parameters}).content.decode()
    asked_like = re.compile(r'Resembling the item <a href="/items/[^"]+">')
    return list(dict.fromkeys(re.findall(r'href="/items/([^/"]+)/', asked_like.sub("", page))))


def in_api(client: Client, words: str, **parameters: str) -> list[str]:
    body = client.get("/api/v1/search/", {"q": words, "top_n": "10", **parameters}).json()
    return [result["item_id"] for result in body["results"]]


def in_terminal(capsys: pytest.CaptureFixture[str], words: str, *options: str) -> list[str]:
    capsys.readouterr()
    call_command("search", words, "--top", "10", "--json", *options)
    return [json.loads(line)["item_id"] for line in capsys.readouterr().out.splitlines()]
