"""`/api/v1/items/`."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoCaptureOnCommitCallbacks
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIClient

from catalog.ingest import Outcome
from catalog.models import Item
from embeddings import jobs, worker
from embeddings.models import EmbeddingJob, EmbeddingSpace
from search.api.items import NOTHING_SENT, ItemViewSet
from tests.conftest import picture
from tests.encoders import POISON

ITEMS = "/api/v1/items/"
NO_TAGS = "Give tags as a list of strings or as one string with commas."
NO_PICTURE = "Send the picture as a file of a multipart form, or as base64."
NO_CHOICE = "Select a valid choice. {} is not one of the available choices."
MakeItem = Callable[..., Item]


def ids(answer: object) -> list[str]:
    return [item["item_id"] for item in answer.json()["results"]]  # type: ignore[attr-defined]


def test_create_answers_with_the_pending_item(api: APIClient, space: EmbeddingSpace) -> None:
    answer = api.post(
        ITEMS,
        {"item_id": "a.b c-ä", "title": "T", "caption": "C", "tags": ["x", "y"], "category": "K"},
    )
    assert answer.status_code == 201
    body = answer.json()
    assert {name: body[name] for name in ("item_id", "title", "caption", "tags", "category")} == {
        "item_id": "a.b c-ä",
        "title": "T",
        "caption": "C",
        "tags": ["x", "y"],
        "category": "K",
    }
    assert (body["state"], body["error"]) == ("pending", "")
    assert (body["image_url"], body["thumbnail_url"], body["width"]) == (None, None, None)
    assert body["url"] == answer["Location"] == f"http://testserver{ITEMS}{quote('a.b c-ä')}/"
    assert api.get(answer["Location"]).json() == body


def test_create_takes_a_form_with_a_picture(api: APIClient, space: EmbeddingSpace) -> None:
    answer = api.post(
        ITEMS,
        {"image": SimpleUploadedFile("red.png", picture("red")), "tags": ["x,y", "z"]},
        format="multipart",
    )
    assert answer.status_code == 201
    body = answer.json()
    assert body["tags"] == ["x", "y", "z"]
    assert (body["original_filename"], body["width"], body["height"]) == ("red.png", 32, 32)
    assert body["image_url"].startswith("http://testserver/media/images/")


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_create_takes_a_picture_as_base64(
    api: APIClient, space: EmbeddingSpace, prefix: str
) -> None:
    answer = api.post(ITEMS, {"image": prefix + base64.b64encode(picture("red")).decode()})
    assert answer.status_code == 201
    assert (answer.json()["width"], answer.json()["height"]) == (32, 32)


def test_create_of_a_known_id_updates_the_item(api: APIClient, make_item: MakeItem) -> None:
    make_item(item_id="a", caption="old", title="kept")
    answer = api.post(ITEMS, {"item_id": "a", "caption": "new"})
    assert answer.status_code == 200
    assert (answer.json()["caption"], answer.json()["title"]) == ("new", "kept")
    assert Item.objects.count() == 1


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        (
            {},
            {"caption": ["An item needs a caption or an image; this one would have neither."]},
        ),
        ({"caption": 5}, {"caption": ["Not a valid string."]}),
        (
            {"caption": "a", "tags": [1]},
            {"tags": [NO_TAGS]},
        ),
        (
            {"caption": "a", "tags": {"a": 1}},
            {"tags": [NO_TAGS]},
        ),
        (
            {"caption": "a", "tags": ["t" * 101]},
            {"tags": ["Ensure this field has no more than 100 characters."]},
        ),
        (
            {"caption": "a", "tags": [f"t{number}" for number in range(201)]},
            {"tags": ["At most 200 tags are accepted, not 201."]},
        ),
        (
            {"caption": "a", "item_id": "i" * 201},
            {"item_id": ["Ensure this field has no more than 200 characters."]},
        ),
        ({"caption": "a\ud800"}, {"caption": ["Surrogate characters are not allowed: U+D800."]}),
        ({"image": "§"}, None),
        (
            {"image": [1]},
            {"image": [NO_PICTURE]},
        ),
        ({"caption": "a", "item_id": "a/b"}, None),
        ({"caption": "c" * 100_000}, None),
    ],
)
def test_create_names_the_field_at_fault(
    api: APIClient,
    space: EmbeddingSpace,
    fields: dict[str, object],
    error: dict[str, list[str]] | None,
) -> None:
    answer = api.post(ITEMS, json.dumps(fields), content_type="application/json")
    assert answer.status_code == 400
    if error is None:  # the catalogue's own words
        (field,) = answer.json()
        assert field == next(reversed(fields))
    else:
        assert answer.json() == error
    assert not Item.objects.exists()


def test_retrieve_tells_the_state_as_it_changes(api: APIClient, make_item: MakeItem) -> None:
    item = make_item(item_id="a", caption="fine")
    address = f"{ITEMS}a/"
    assert api.get(address).json()["state"] == "pending"
    worker.drain()
    assert api.get(address).json()["state"] == "indexed"
    Item.objects.get(pk=item.pk).delete()
    answer = api.get(address)
    assert (answer.status_code, answer.json()) == (
        404,
        {"detail": "No Item matches the given query."},
    )


def test_retrieve_of_a_failed_item_tells_why(api: APIClient, make_item: MakeItem) -> None:
    make_item(item_id="a", caption=POISON)
    for _ in range(jobs.MAX_ATTEMPTS):
        EmbeddingJob.objects.update(run_after="2000-01-01T00:00Z")
        worker.drain()
    body = api.get(f"{ITEMS}a/").json()
    assert body["state"] == "failed"
    assert body["error"]


def test_update_replaces_and_keeps_the_picture(api: APIClient, make_item: MakeItem) -> None:
    make_item(item_id="a", colour="red", caption="old", title="old", tags=("x",), category="k")
    answer = api.put(f"{ITEMS}a/", {"caption": "new"})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["caption"], body["title"], body["tags"], body["category"]) == ("new", "", [], "")
    assert body["image_url"] is not None


def test_partial_update_changes_what_is_sent(api: APIClient, make_item: MakeItem) -> None:
    make_item(item_id="a", caption="old", title="old", tags=("x",))
    answer = api.patch(f"{ITEMS}a/", {"title": "", "tags": "y, z"})
    assert answer.status_code == 200
    body = answer.json()
    assert (body["caption"], body["title"], body["tags"]) == ("old", "", ["y", "z"])


def test_partial_update_refuses_to_empty_an_item(api: APIClient, make_item: MakeItem) -> None:
    make_item(item_id="a", caption="old")
    answer = api.patch(f"{ITEMS}a/", {"caption": ""})
    assert (answer.status_code, list(answer.json())) == (400, ["caption"])
    assert Item.objects.get().caption == "old"


def test_partial_update_refuses_another_id(api: APIClient, make_item: MakeItem) -> None:
    make_item(item_id="a")
    answer = api.patch(f"{ITEMS}a/", {"item_id": "b"})
    assert answer.status_code == 400
    assert answer.json() == {"item_id": ["The address says 'a', and an item id is for good."]}


def test_delete_removes_the_item_from_search_at_once(
    api: APIClient, indexed_items: dict[str, Item]
) -> None:
    assert api.delete(f"{ITEMS}red/").status_code == 204
    assert api.get(f"{ITEMS}red/").status_code == 404
    assert sorted(ids(api.get("/api/v1/search/?q=red"))) == ["blue", "green", "words"]


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete"])
def test_an_unknown_item_is_404_as_json(api: APIClient, space: EmbeddingSpace, method: str) -> None:
    answer = getattr(api, method)(f"{ITEMS}nobody/")
    assert answer.status_code == 404
    assert answer.json() == {"detail": "No Item matches the given query."}


@pytest.mark.parametrize(
    "item_id", ["bulk", "bulk-delete", "a.b", "a b", "...x", "ä", "🍎", "similar"]
)
def test_any_allowed_id_has_an_address(api: APIClient, make_item: MakeItem, item_id: str) -> None:
    make_item(item_id=item_id)
    address = f"{ITEMS}{quote(item_id)}/"
    assert api.get(address).json()["item_id"] == item_id
    assert api.patch(address, {"title": "T"}).json()["title"] == "T"
    assert api.delete(address).status_code == 204


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["words", "blue", "green", "red"]),
        ("category=cold", ["blue", "green"]),
        ("tag=colour", ["blue", "green", "red"]),
        ("tag=colour&tag=sea", ["blue"]),
        ("tag=colour,fire", ["red"]),
        ("tag=nothing", []),
        ("state=indexed&category=warm", ["red"]),
        ("state=pending", []),
        ("ordering=item_id", ["blue", "green", "red", "words"]),
        ("ordering=-title", ["red", "green", "words", "blue"]),
        ("ordering=created_at", ["red", "green", "blue", "words"]),
        ("ordering=-updated_at", ["words", "blue", "green", "red"]),
        ("page_size=2&page=2", ["green", "red"]),
    ],
)
def test_list_filters_and_orders(
    api: APIClient, indexed_items: dict[str, Item], query: str, expected: list[str]
) -> None:
    answer = api.get(f"{ITEMS}?{query}")
    assert answer.status_code == 200
    assert ids(answer) == expected


def test_list_pages_say_where_the_next_one_is(
    api: APIClient, indexed_items: dict[str, Item]
) -> None:
    body = api.get(f"{ITEMS}?page_size=3").json()
    assert (body["count"], body["previous"]) == (4, None)
    assert body["next"] == f"http://testserver{ITEMS}?page=2&page_size=3"
    assert len(body["results"]) == 3


@pytest.mark.parametrize(
    ("query", "status", "error"),
    [
        (
            "state=lost",
            400,
            {"state": [NO_CHOICE.format("lost")]},
        ),
        (
            "ordering=colour",
            400,
            {"ordering": [NO_CHOICE.format("colour")]},
        ),
        ("category=%00", 400, {"category": ["Null characters are not allowed."]}),
        ("tag=a&tag=%00", 400, {"tag": ["Null characters are not allowed."]}),
        ("page=0", 404, {"detail": "Invalid page."}),
        ("page=99999999999999999999999", 404, {"detail": "Invalid page."}),
        ("page=x", 404, {"detail": "Invalid page."}),
    ],
)
def test_list_names_what_is_wrong(
    api: APIClient,
    indexed_items: dict[str, Item],
    query: str,
    status: int,
    error: dict[str, object],
) -> None:
    answer = api.get(f"{ITEMS}?{query}")
    assert (answer.status_code, answer.json()) == (status, error)


def test_list_asks_as_many_queries_for_one_row_as_for_three(
    api: APIClient, indexed_items: dict[str, Item]
) -> None:
    counts = []
    for page_size in (1, 3):
        with CaptureQueriesContext(connection) as queries:
            assert len(ids(api.get(f"{ITEMS}?page_size={page_size}"))) == page_size
        counts.append(len(queries))
    assert counts == [4, 4]  # active space, count, items, tags


def test_similar_leaves_the_item_out(api: APIClient, indexed_items: dict[str, Item]) -> None:
    answer = api.get(f"{ITEMS}red/similar/?top_n=2")
    assert answer.status_code == 200
    assert len(ids(answer)) == 2
    assert "red" not in ids(answer)
    assert answer.json()["total"] == 3


def test_similar_keeps_to_the_filter(api: APIClient, indexed_items: dict[str, Item]) -> None:
    assert ids(api.get(f"{ITEMS}red/similar/?tags=sea")) == ["blue"]
    assert ids(api.get(f"{ITEMS}red/similar/?modality=text")) == ["words"]


def test_similar_of_an_item_without_vectors_is_a_conflict(
    api: APIClient, make_item: MakeItem
) -> None:
    make_item(item_id="a")
    answer = api.get(f"{ITEMS}a/similar/")
    assert answer.status_code == 409
    assert answer.json() == {"detail": "This item has no vector yet: it is pending or failed."}


def test_list_of_many_tags_is_one_condition(api: APIClient, make_item: MakeItem) -> None:
    """More of them than SQLite joins tables, and none is passed over."""
    tags = [f"t{number}" for number in range(70)]
    make_item(item_id="all", tags=tuple(tags))
    make_item(item_id="few", tags=tuple(tags[1:]))
    assert ids(api.get(f"{ITEMS}?tag={','.join(tags)}")) == ["all"]
    assert ids(api.get(f"{ITEMS}?tag={','.join(tags * 4)},none")) == []


@pytest.mark.parametrize("body", [{}, {"item_id": "red"}, {"state": "pending"}])
@pytest.mark.parametrize("method", ["put", "patch"])
def test_a_change_without_a_field_is_refused(
    api: APIClient, indexed_items: dict[str, Item], method: str, body: dict[str, str]
) -> None:
    before = api.get(f"{ITEMS}red/").json()
    answer = getattr(api, method)(f"{ITEMS}red/", body)
    assert (answer.status_code, answer.json()) == (400, {"non_field_errors": [NOTHING_SENT]})
    assert api.get(f"{ITEMS}red/").json() == before


@pytest.mark.parametrize("format", ["json", "multipart"])
def test_an_unknown_field_is_refused_with_the_nearest_name(
    api: APIClient,
    indexed_items: dict[str, Item],
    format: str,  # noqa: A002  REST framework's name
) -> None:
    refused = {"captoin": ["There is no such field. Did you mean 'caption'?"]}
    body = {"title": "New", "captoin": "lost", "csrfmiddlewaretoken": "x"}
    for answer in (
        api.post(ITEMS, {"caption": "x", **body}, format=format),
        api.put(f"{ITEMS}red/", body, format=format),
        api.patch(f"{ITEMS}red/", body, format=format),
    ):
        assert (answer.status_code, answer.json()) == (400, refused)
    assert Item.objects.count() == 4
    assert Item.objects.get(item_id="red").title == "Red"


def test_an_item_can_be_sent_back_as_it_was_answered(
    api: APIClient, indexed_items: dict[str, Item]
) -> None:
    shown = api.get(f"{ITEMS}red/").json()
    answer = api.put(f"{ITEMS}red/", {**shown, "title": "New"})
    assert (answer.status_code, answer.json()["title"]) == (200, "New")
    assert answer.json()["image_url"] == shown["image_url"]


def test_of_many_unknown_fields_some_are_named(api: APIClient, space: EmbeddingSpace) -> None:
    body = {"caption": "x", **{f"{number:05}" + "x" * 200: 1 for number in range(20_000)}}
    answer = api.post(ITEMS, body)
    assert answer.status_code == 400
    assert [name[:6] for name in answer.json()] == [f"{number:05}x" for number in range(10)]
    assert {len(name) for name in answer.json()} == {100}


def test_a_body_in_chunks_does_not_clear_the_item(
    api: APIClient, indexed_items: dict[str, Item]
) -> None:
    answer = api.generic(
        "PUT", f"{ITEMS}red/", content_type="application/json", HTTP_TRANSFER_ENCODING="chunked"
    )
    assert (answer.status_code, answer.json()) == (400, {"non_field_errors": [NOTHING_SENT]})


@pytest.mark.parametrize("method", ["put", "patch"])
def test_a_change_does_not_bring_a_deleted_item_back(
    api: APIClient, make_item: MakeItem, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    item = make_item(item_id="gone", caption="a")
    fields = ItemViewSet._fields

    def delete_meanwhile(view: ItemViewSet, request: Request) -> dict[str, object]:
        Item.objects.filter(pk=item.pk).delete()
        return fields(view, request)

    monkeypatch.setattr(ItemViewSet, "_fields", delete_meanwhile)
    image = SimpleUploadedFile("red.png", picture("red"))
    answer = getattr(api, method)(f"{ITEMS}gone/", {"image": image}, format="multipart")
    assert (answer.status_code, answer.json()) == (404, {"detail": "There is no item 'gone'."})
    assert not Item.objects.filter(item_id="gone").exists()
    assert list(Path(settings.MEDIA_ROOT).rglob("gone_*")) == []


@pytest.mark.parametrize(("method", "address"), [("post", ITEMS), ("put", f"{ITEMS}gone/")])
def test_an_item_deleted_before_it_is_shown_answers_404(
    api: APIClient,
    make_item: MakeItem,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    address: str,
) -> None:
    make_item(item_id="gone", caption="a")
    show = ItemViewSet._show

    def delete_before(view: ItemViewSet, outcome: Outcome) -> Response:
        Item.objects.filter(item_id="gone").delete()
        return show(view, outcome)

    monkeypatch.setattr(ItemViewSet, "_show", delete_before)
    answer = getattr(api, method)(address, {"item_id": "gone", "caption": "b"})
    assert answer.status_code == 404
    assert answer.json() == {"detail": "Item 'gone' was stored, and deleted a moment later."}


def test_an_order_of_nothing_is_the_usual_order(
    api: APIClient, indexed_items: dict[str, Item]
) -> None:
    assert ids(api.get(f"{ITEMS}?ordering=,")) == ids(api.get(ITEMS))


@pytest.mark.parametrize("method", ["put", "patch"])
def test_null_removes_the_picture(
    api: APIClient,
    make_item: MakeItem,
    method: str,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    item = make_item(item_id="a", colour="red", caption="a red thing")
    worker.drain()
    file = Path(item.image.path)
    assert file.exists()
    with django_capture_on_commit_callbacks(execute=True):
        answer = getattr(api, method)(f"{ITEMS}a/", {"image": None, "caption": "a red thing"})
    body = answer.json()
    assert answer.status_code == 200
    assert (body["image_url"], body["thumbnail_url"], body["width"]) == (None, None, None)
    assert (body["original_filename"], body["state"]) == ("", "pending")
    assert not file.exists()
    worker.drain()
    assert api.get(f"{ITEMS}a/").json()["state"] == "indexed"
    found = api.get("/api/v1/search/?q=red&modality=image").json()
    assert found["results"] == []


def test_null_leaves_no_item_with_nothing(api: APIClient, make_item: MakeItem) -> None:
    item = make_item(item_id="a", colour="red")
    answer = api.patch(f"{ITEMS}a/", {"image": None})
    assert (answer.status_code, answer.json()) == (
        400,
        {"caption": ["An item needs a caption or an image; this one would have neither."]},
    )
    item.refresh_from_db()
    assert Path(item.image.path).exists()


@pytest.mark.parametrize("path", ["", "red/similar/"])
def test_an_unknown_parameter_is_refused_with_the_nearest_name(
    api: APIClient, indexed_items: dict[str, Item], path: str
) -> None:
    answer = api.get(f"{ITEMS}{path}?categry=cold")
    assert (answer.status_code, answer.json()) == (
        400,
        {"categry": ["There is no such parameter. Did you mean 'category'?"]},
    )
    answer = api.get("/api/v1/search/?q=red&zzz=1")
    assert (answer.status_code, answer.json()) == (
        400,
        {
            "zzz": [
                (
                    "There is no such parameter."
                    " Known are after, all, any_tags, before, category, cursor, has, like,"
                    " min_score, modality, no_tags, offset, q, state, tags, top_n."
                )
            ]
        },
    )
