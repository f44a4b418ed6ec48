"""`/api/v1/items/bulk/`: NDJSON in, NDJSON out."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from django.test import Client

from catalog.models import Item
from embeddings.models import EmbeddingSpace
from search.api import bulk
from tests.conftest import picture

BULK = "/api/v1/items/bulk/"
FORM = "application/x-www-form-urlencoded"
NDJSON = "application/x-ndjson"


def send(client: Client, *lines: object) -> list[dict[str, Any]]:
    """Post lines (objects as JSON, bytes as they are); returns the outcomes."""
    body = b"".join(
        (line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines
    )
    answer = client.post(BULK, body, NDJSON)
    assert answer.status_code == 200
    assert answer["Content-Type"] == NDJSON
    return [json.loads(line) for line in answer.getvalue().splitlines()]


def test_bulk_answers_a_line_for_every_record(client: Client, space: EmbeddingSpace) -> None:
    image = base64.b64encode(picture("red")).decode()
    full = {"item_id": "a", "title": "T", "caption": "C", "tags": ["x"], "category": "K"}
    assert send(
        client,
        full,
        {"item_id": "b", "image": image, "image_filename": "red.png"},
        full,
        {"item_id": "a", "caption": "D"},
    ) == [
        {"line": 1, "item_id": "a", "outcome": "new"},
        {"line": 2, "item_id": "b", "outcome": "new"},
        {"line": 3, "item_id": "a", "outcome": "unchanged"},
        {"line": 4, "item_id": "a", "outcome": "updated"},
    ]
    first, second = Item.objects.order_by("item_id")
    assert (first.title, first.caption, first.category) == ("T", "D", "K")
    assert (second.original_filename, second.width) == ("red.png", 32)


def test_bulk_says_that_a_picture_was_taken_by_its_content(
    client: Client, space: EmbeddingSpace
) -> None:
    image = base64.b64encode(picture("red")).decode()
    (outcome,) = send(client, {"item_id": "a", "image": image, "image_filename": "a.jpg"})
    assert outcome == {
        "line": 1,
        "item_id": "a",
        "outcome": "new",
        "note": "'a.jpg' was taken as PNG, which it holds; its name says JPEG.",
    }


def test_bulk_says_which_fields_were_left_out(client: Client, space: EmbeddingSpace) -> None:
    lost = "'captoin' is no field and was left out. Did you mean 'caption'?"
    unknown = (
        "'zzz' is no field and was left out. Known are caption, category, file_name, filename, id,"
        " image, image_filename, item_id, tags, title."
    )
    taken, rejected, plain = send(
        client,
        {"item_id": "a", "title": "T", "caption": "x", "captoin": "y", "zzz": 1},
        {"item_id": "b", "captoin": "y"},
        {"id": "c", "caption": "x"},
    )
    assert taken == {"line": 1, "item_id": "a", "outcome": "new", "note": f"{lost} {unknown}"}
    assert (rejected["outcome"], rejected["field"], rejected["note"]) == (
        "rejected",
        "caption",
        lost,
    )
    assert plain == {"line": 3, "item_id": "c", "outcome": "new"}
    assert sorted(Item.objects.values_list("item_id", flat=True)) == ["a", "c"]


def test_bulk_rejects_bad_lines_and_takes_in_the_rest(
    client: Client, space: EmbeddingSpace
) -> None:
    lines = [
        {"item_id": "a", "caption": "fine"},
        b"{not json",
        b"[1]",
        b"[" * 100_000,
        b'"\xff"',
        {"item_id": "b"},
        {"item_id": "c", "caption": 5},
        {"item_id": "d", "caption": "x\x00"},
        {"item_id": "e\ud800", "caption": "x"},
        {"item_id": "f", "image": "§"},
        {"item_id": "g", "image": base64.b64encode(b"%PDF-1.7").decode()},
        {"item_id": "h", "image_filename": "/etc/passwd"},
        {"item_id": "i", "caption": "c" * 100_000},
        b"",
        {"item_id": "z", "caption": "fine too"},
    ]
    outcomes = send(client, *lines)
    assert [outcome["line"] for outcome in outcomes] == [*range(1, 14), 15]
    kinds = [outcome["outcome"] for outcome in outcomes]
    assert kinds == ["new", *["rejected"] * 12, "new"]
    faults = [outcome["field"] for outcome in outcomes[1:-1]]
    assert faults == [
        *[""] * 4,
        "caption",
        "caption",
        "caption",
        "item_id",
        "image",
        "image",
        "image",
        "caption",
    ]
    assert all(outcome["reason"] for outcome in outcomes[1:-1])
    assert set(Item.objects.values_list("item_id", flat=True)) == {"a", "z"}


def test_bulk_takes_a_last_line_without_an_end(client: Client, space: EmbeddingSpace) -> None:
    answer = client.post(BULK, b'{"item_id": "a", "caption": "x"}', NDJSON)
    assert json.loads(answer.getvalue()) == {"line": 1, "item_id": "a", "outcome": "new"}


def test_bulk_of_nothing_answers_nothing(client: Client, space: EmbeddingSpace) -> None:
    assert send(client) == []


def test_bulk_does_not_ask_what_the_body_calls_itself(
    client: Client, space: EmbeddingSpace
) -> None:
    answer = client.post(
        BULK, b'{"item_id": "a", "caption": "x"}', "application/x-www-form-urlencoded"
    )
    assert json.loads(answer.getvalue())["outcome"] == "new"


def test_bulk_keeps_order_over_many_batches(
    client: Client, space: EmbeddingSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "WRITE_BATCH", 3)
    outcomes = send(client, *({"item_id": f"i{n}", "caption": "x"} for n in range(50)))
    assert [outcome["item_id"] for outcome in outcomes] == [f"i{n}" for n in range(50)]
    assert {outcome["outcome"] for outcome in outcomes} == {"new"}


def test_bulk_of_a_cut_off_body_keeps_what_came(client: Client, space: EmbeddingSpace) -> None:
    line = b'{"item_id": "a", "caption": "x"}\n'
    answer = client.post(BULK, line + b'{"item_id": "b", "ca', NDJSON)
    kinds = [json.loads(line)["outcome"] for line in answer.getvalue().splitlines()]
    assert kinds == ["new", "rejected"]
