"""`/api/v1/search/`."""

from __future__ import annotations

import base64
import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from catalog.models import Item
from embeddings.models import EmbeddingSpace
from tests.conftest import picture
from tests.encoders import POISON

SEARCH = "/api/v1/search/"


def ids(answer: object) -> list[str]:
    return [result["item_id"] for result in answer.json()["results"]]  # type: ignore[attr-defined]


def test_get_answers_with_the_envelope(api: APIClient, indexed_items: dict[str, Item]) -> None:
    answer = api.get(f"{SEARCH}?q=red&top_n=1")
    assert answer.status_code == 200
    body = answer.json()
    item = indexed_items["red"]
    (best,) = body["results"]
    assert 0 < best.pop("score") <= 1
    why = best.pop("why")
    assert why["evidence"].keys() == {"image", "text", "words"}
    assert (why["title"], why["caption"]) == ("<mark>Red</mark>", "")
    assert best == {
        "item_id": "red",
        "id": str(item.pk),
        "modality": "image",
        "title": "Red",
        "caption": "",
        "tags": ["colour", "fire"],
        "category": "warm",
        "image_url": f"http://testserver{item.image.url}",
        "thumbnail_url": f"http://testserver{item.image.url}",
        "url": "http://testserver/api/v1/items/red/",
    }
    assert (body["total"], body["top_n"], body["offset"]) == (4, 1, 0)
    assert body["facets"] == {
        "categories": [{"name": "cold", "count": 2}, {"name": "warm", "count": 1}],
        "tags": [
            {"name": "colour", "count": 3},
            {"name": "fire", "count": 1},
            {"name": "sea", "count": 1},
        ],
    }
    assert body["notes"] == []
    assert body["timings"].keys() == {"encode_ms", "index_ms", "database_ms", "total_ms"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("q=blue&modality=image&top_n=1", ["blue"]),
        ("q=quiet&modality=text", ["words"]),
        ("q=blue&category=warm", ["red"]),
        ("q=red&tags=sea", ["blue"]),
        ("q=red&tags=colour&tags=sea", ["blue"]),
        ("q=red&tags=colour,sea", ["blue"]),
        ("q=red&tags=nothing", []),
        ("like=red&modality=text", ["words"]),
    ],
)
def test_get_keeps_to_the_filter(
    api: APIClient, indexed_items: dict[str, Item], query: str, expected: list[str]
) -> None:
    assert ids(api.get(f"{SEARCH}?{query}")) == expected


def test_offset_goes_on_where_the_last_page_ended(
    api: APIClient, indexed_items: dict[str, Item]
) -> None:
    everything = ids(api.get(f"{SEARCH}?q=red&top_n=4"))
    pages = [ids(api.get(f"{SEARCH}?q=red&top_n=2&offset={offset}")) for offset in (0, 2)]
    assert [*pages[0], *pages[1]] == everything


def test_post_of_words_answers_like_get(api: APIClient, indexed_items: dict[str, Item]) -> None:
    posted = api.post(SEARCH, {"q": "red", "tags": ["colour"], "top_n": 2})
    assert ids(posted) == ids(api.get(f"{SEARCH}?q=red&tags=colour&top_n=2"))
    assert len(ids(posted)) == 2


@pytest.mark.parametrize("format", ["json", "multipart"])
def test_post_combines_words_and_a_picture(
    api: APIClient,
    indexed_items: dict[str, Item],
    format: str,  # noqa: A002
) -> None:
    def send(**fields: object) -> list[str]:
        data = picture("blue")
        fields["image"] = (
            base64.b64encode(data).decode()
            if format == "json"
            else SimpleUploadedFile("blue.png", data)
        )
        return ids(api.post(SEARCH, fields, format=format))

    assert send(top_n=1) == ["blue"]
    assert send(q="quiet evening", modality="text") == ["words"]


def test_post_combines_words_and_an_item(api: APIClient, indexed_items: dict[str, Item]) -> None:
    answer = api.post(SEARCH, {"q": "blue", "like": "red", "top_n": 1})
    assert ids(answer) == ["blue"]


def test_the_original_endpoint_answers_in_the_same_order(
    api: APIClient, indexed_items: dict[str, Item]
) -> None:
    original = api.post("/search_text/", {"query_text": "red", "top_n": 4})
    ours = api.get(f"{SEARCH}?q=red&top_n=4")
    assert ids(original) == ids(ours)
    assert [result["score"] for result in original.json()["results"]] == [
        result["score"] for result in ours.json()["results"]
    ]


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("", {"q": ["Say what to look for: words, a picture, or both."]}),
        ("q=", {"q": ["Say what to look for: words, a picture, or both."]}),
        ("q=%20", {"q": ["Say what to look for: words, a picture, or both."]}),
        ("q=a&top_n=0", {"top_n": ["Ensure this value is greater than or equal to 1."]}),
        ("q=a&top_n=1001", {"top_n": ["Ensure this value is less than or equal to 1000."]}),
        ("q=a&top_n=x", {"top_n": ["A valid integer is required."]}),
        ("q=a&offset=-1", {"offset": ["Ensure this value is greater than or equal to 0."]}),
        ("q=a&offset=10001", {"offset": ["Ensure this value is less than or equal to 10000."]}),
        ("q=a&modality=sound", {"modality": ['"sound" is not a valid choice.']}),
        ("q=a%00", {"q": ["Null characters are not allowed."]}),
        ("q=a&tags=%00", {"tags": ["Null characters are not allowed."]}),
        ("q=a&category=%00", {"category": ["Null characters are not allowed."]}),
        ("like=nobody", {"like": ["There is no item 'nobody'."]}),
    ],
)
def test_get_names_the_field_at_fault(
    api: APIClient, indexed_items: dict[str, Item], query: str, error: dict[str, list[str]]
) -> None:
    answer = api.get(f"{SEARCH}?{query}")
    assert (answer.status_code, answer.json()) == (400, error)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"q": 5}, {"q": ["Not a valid string."]}),
        ({"q": "a", "modality": "\ud800"}, {"modality": ['"\\ud800" is not a valid choice.']}),
        ({"q": "a", "modality": ["any"]}, {"modality": ["\"['any']\" is not a valid choice."]}),
        ({"image": "not base64!"}, None),
        ({"image": base64.b64encode(b"%PDF-1.7").decode()}, None),
        ({"image": 5}, None),
    ],
)
def test_post_names_the_field_at_fault(
    api: APIClient,
    indexed_items: dict[str, Item],
    body: dict[str, object],
    error: dict[str, list[str]] | None,
) -> None:
    answer = api.post(SEARCH, json.dumps(body), content_type="application/json")
    assert answer.status_code == 400
    if error is None:
        assert list(answer.json()) == ["image"]
    else:
        assert answer.json() == error


def test_a_failing_encoder_is_503(api: APIClient, indexed_items: dict[str, Item]) -> None:
    answer = api.get(f"{SEARCH}?q={POISON}")
    assert answer.status_code == 503
    assert answer.json() == {"detail": "The query could not be encoded: This text is poison."}


def test_an_empty_catalogue_has_no_results(api: APIClient, space: EmbeddingSpace) -> None:
    body = api.get(f"{SEARCH}?q=red").json()
    assert (body["results"], body["total"]) == ([], 0)


def test_search_asks_as_many_queries_for_one_result_as_for_three(
    api: APIClient, indexed_items: dict[str, Item]
) -> None:
    counts = []
    for _ in range(2):  # reads the columns of items, and their log
        api.get(f"{SEARCH}?q=red")
    for top_n in (1, 3):
        with CaptureQueriesContext(connection) as queries:
            assert len(ids(api.get(f"{SEARCH}?q=red&top_n={top_n}"))) == top_n
        counts.append(len(queries))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("format", ["json", "multipart"])
def test_an_unknown_parameter_of_the_body_is_refused_with_the_nearest_name(
    api: APIClient,
    indexed_items: dict[str, Item],
    format: str,  # noqa: A002  REST framework's name
) -> None:
    answer = api.post(SEARCH, {"q": "red", "categry": "cold"}, format=format)
    assert (answer.status_code, answer.json()) == (
        400,
        {"categry": ["There is no such field. Did you mean 'category'?"]},
    )


def test_an_unknown_name_in_a_term_is_refused_with_the_nearest_name(
    api: APIClient, indexed_items: dict[str, Item]
) -> None:
    term = {"text": "red", "wieght": 2}
    answer = api.post(SEARCH, {"q": "red", "terms": [term]}, format="json")
    assert (answer.status_code, answer.json()) == (
        400,
        {"terms": {"0": {"wieght": ["There is no such field. Did you mean 'weight'?"]}}},
    )
