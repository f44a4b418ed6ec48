"""The upload page: through the same door as everything else, without JavaScript."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpRequest
from django.test import Client, override_settings

from catalog.models import Item
from embeddings import worker
from embeddings.models import EmbeddingSpace
from tests.conftest import picture
from tests.search.pages.page_reading import text_of, tiles

pytestmark = pytest.mark.django_db


def _png(data: bytes = b"", name: str = "mug.png") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, data or picture("red"))


def test_upload_stores_the_item_and_shows_it_becoming_indexed(
    client: Client, space: EmbeddingSpace
) -> None:
    fields = {
        "image": _png(),
        "caption": " a mug ",
        "title": "Mug",
        "tags": "red, tea,, red",
        "category": "kitchen",
        "item_id": "my mug",
    }
    response = client.post("/upload/", fields)
    assert response.status_code == 302
    assert response["Location"] == "/items/my%20mug/?saved=new"
    item = Item.objects.get(item_id="my mug")
    assert (item.title, item.caption, item.category) == ("Mug", "a mug", "kitchen")
    assert sorted(tag.name for tag in item.tags.all()) == ["red", "tea"]
    assert (item.width, item.height, item.original_filename) == (32, 32, "mug.png")
    page = text_of(client.get(response["Location"]))
    assert "Added." in page
    assert "Waiting to be indexed." in page
    worker.drain()
    assert "Indexed: it can be found" in text_of(client.get(response["Location"]))
    assert tiles(client.get("/?q=red")) == ["my mug"]


def test_upload_of_a_caption_alone_makes_an_id(client: Client, space: EmbeddingSpace) -> None:
    response = client.post("/upload/", {"caption": "only words"})
    item = Item.objects.get()
    assert response["Location"] == f"/items/{item.item_id}/?saved=new"
    assert item.caption == "only words"


def test_upload_with_an_existing_id_changes_what_was_filled_in(
    client: Client, space: EmbeddingSpace
) -> None:
    client.post("/upload/", {"image": _png(), "title": "Mug", "tags": "tea", "item_id": "mug"})
    response = client.post("/upload/", {"caption": "a red mug", "item_id": "mug"})
    assert response["Location"] == "/items/mug/?saved=updated"
    item = Item.objects.get()
    assert (item.title, item.caption, item.tags.get().name) == ("Mug", "a red mug", "tea")
    assert item.image_hash
    again = client.post("/upload/", {"caption": "a red mug", "item_id": "mug"})
    assert "Nothing changed" in text_of(client.get(again["Location"]))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "An item needs a caption or an image"),
        ({"caption": "   "}, "An item needs a caption or an image"),
        ({"caption": "x" * 20_001}, "The caption has 20,001 characters; 20,000 is the limit."),
        ({"caption": "a\x00b"}, "Null characters are not allowed."),
        ({"caption": "a", "item_id": "a/b"}, "The item id 'a/b' holds a control character"),
        ({"caption": "a", "title": "t" * 301}, "The title has 301 characters"),
        ({"caption": "a", "tags": "t" * 101}, "A tag has 101 characters"),
        ({"image": (b"", "none.png")}, "The file is empty (0 bytes)."),
        ({"image": (picture("red")[:60], "cut.png")}, "'cut.png' is damaged or cut short"),
        ({"image": (b"%PDF-1.7 ...", "a.png")}, "A picture has to be JPEG"),
    ],
)
def test_upload_refuses_in_words_and_stores_nothing(
    client: Client, space: EmbeddingSpace, fields: dict[str, Any], words: str
) -> None:
    if "image" in fields:
        data, name = fields["image"]
        fields = {**fields, "image": SimpleUploadedFile(name, data)}
    response = client.post("/upload/", fields)
    assert response.status_code == 400
    assert words in html.unescape(text_of(response))
    assert not Item.objects.exists()


def test_upload_refused_keeps_what_was_typed(client: Client, space: EmbeddingSpace) -> None:
    response = client.post("/upload/", {"caption": "kept <words>", "item_id": "a/b"})
    assert "kept &lt;words&gt;</textarea>" in text_of(response)
    assert 'value="a/b"' in text_of(response)
    assert "Please choose the picture again." not in text_of(response)
    response = client.post("/upload/", {"image": _png(), "item_id": "a/b"})
    assert "Please choose the picture again." in text_of(response)


def test_upload_too_large_is_a_413_in_words(client: Client, space: EmbeddingSpace) -> None:
    with override_settings(MMSEARCH_MAX_UPLOAD_BYTES=50):
        response = client.post("/upload/", {"image": _png()})
    assert response.status_code == 413
    assert "The file is larger than" in text_of(response)


def test_upload_names_existing_categories(client: Client, indexed_items: dict[str, Item]) -> None:
    page = text_of(client.get("/upload/"))
    assert '<option value="cold"><option value="warm">' in page


def test_upload_needs_the_token_of_its_form(space: EmbeddingSpace) -> None:
    strict = Client(enforce_csrf_checks=True)
    response = strict.post("/upload/", {"caption": "from elsewhere"})
    assert response.status_code == 403
    assert "Please send it again" in text_of(response)
    assert not Item.objects.exists()


@override_settings(MMSEARCH_API_AUTH="required")
def test_upload_without_login_stores_nothing_where_required(
    client: Client, admin_client: Client, space: EmbeddingSpace
) -> None:
    assert client.post("/upload/", {"caption": "a"})["Location"].startswith("/login/")
    assert not Item.objects.exists()
    assert admin_client.post("/upload/", {"caption": "a"})["Location"].startswith("/items/")


@pytest.mark.parametrize("path", ["/upload/", "/"])
@pytest.mark.parametrize(("mode", "status", "reads"), [("required", 302, 0), ("open", 403, 1)])
def test_a_strangers_form_is_not_read(
    monkeypatch: pytest.MonkeyPatch, path: str, mode: str, status: int, reads: int
) -> None:
    read: list[str] = []
    original = HttpRequest._load_post_and_files

    def load(request: HttpRequest) -> None:
        read.append(request.path)
        original(request)

    monkeypatch.setattr(HttpRequest, "_load_post_and_files", load)
    stranger = Client(enforce_csrf_checks=True)
    stranger.get("/admin/login/")  # the cookie makes a form worth reading
    read.clear()
    with override_settings(MMSEARCH_API_AUTH=mode):
        assert stranger.post(path, {"caption": "x"}).status_code == status
    assert read == [path] * reads


def test_upload_removes_the_picture_of_an_item(
    client: Client, make_item: Callable[..., Item]
) -> None:
    item = make_item(item_id="a", colour="red", caption="red")
    assert client.post("/upload/", {"item_id": "a", "remove_image": "on"}).status_code == 302
    item.refresh_from_db()
    assert (item.image.name, item.caption) == ("", "red")
