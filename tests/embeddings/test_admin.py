"""The admin: items through the ordinary door, the queue with its errors, the spaces."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from catalog.models import Item, LinkedFolder, Tag
from embeddings import overview, worker
from embeddings.models import EmbeddingJob, EmbeddingSpace
from embeddings.states import ItemState, with_state
from search.answer.answering import search
from search.answer.syntax import ask
from search.index import space_index
from search.index.space_index import active_index
from tests.conftest import picture
from tests.encoders import POISON

MakeItem = Callable[..., Item]
ITEMS = "admin:catalog_item_changelist"
JOBS = "admin:embeddings_embeddingjob_changelist"
SPACES = "admin:embeddings_embeddingspace_changelist"


def _state(item: Item) -> str:
    return str(with_state(Item.objects.filter(pk=item.pk)).get().state)  # type: ignore[attr-defined]


def _fail(item: Item) -> None:
    """Let the worker try three times in vain."""
    for _ in range(3):
        EmbeddingJob.objects.filter(item=item).update(run_after=item.created_at)
        worker.drain()
    assert _state(item) == ItemState.FAILED


def _page(client: Client, name: str, **params: str) -> str:
    response = client.get(reverse(name), params)
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def _act(client: Client, name: str, action: str, *pks: int, **more: str) -> str:
    """Run an action on rows; the messages that follow."""
    data = {"action": action, "_selected_action": [str(pk) for pk in pks], **more}
    response = client.post(reverse(name), data, follow=True)
    assert response.status_code == 200
    page = html.unescape(response.content.decode())
    return " ".join(re.findall(r'<li class="(?:success|error|warning)">(.*?)</li>', page))


def _listed(page: str) -> list[str]:
    """The item ids of the list, in order."""
    return re.findall(r'<td class="field-item_id">(.*?)</td>', page)


# ── items ───────────────────────────────────────────────────────────────────────────────────────


def test_item_list_shows_thumbnail_state_category_and_tags(
    admin_client: Client, make_item: MakeItem
) -> None:
    item = make_item(item_id="cup", colour="red", title="Cup", category="warm", tags=("a", "b"))
    page = _page(admin_client, ITEMS)
    assert f'<img class="mm-thumbnail" src="{item.image.url}"' in page
    assert '<span class="mm-state mm-pending">pending</span>' in page
    assert '<td class="field-category">warm</td><td class="field-tag_names">a, b</td>' in page


def test_item_list_searches_and_filters(
    admin_client: Client, indexed_items: dict[str, Item], make_item: MakeItem
) -> None:
    make_item(item_id="late", caption="just came")
    assert _listed(_page(admin_client, ITEMS, q="quiet")) == ["words"]
    assert _listed(_page(admin_client, ITEMS, category="cold")) == ["blue", "green"]
    assert _listed(_page(admin_client, ITEMS, state="pending")) == ["late"]
    assert _listed(_page(admin_client, ITEMS, state="indexed")) == ["words", "blue", "green", "red"]
    assert _listed(_page(admin_client, ITEMS, state="failed")) == []
    assert len(_listed(_page(admin_client, ITEMS, state="odd"))) == 5


def test_tag_list_counts_items(admin_client: Client, make_item: MakeItem) -> None:
    make_item(item_id="a", tags=("sea", "sky"))
    make_item(item_id="b", tags=("sea",))
    page = _page(admin_client, "admin:catalog_tag_changelist")
    assert re.findall(r'<td class="field-item_count">(.*?)</td>', page) == ["2", "1"]


@pytest.mark.parametrize("name", [ITEMS, JOBS, "admin:catalog_tag_changelist"])
def test_list_query_count_does_not_grow_with_rows(
    admin_client: Client, make_item: MakeItem, name: str
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            _page(admin_client, name)
        return len(captured)

    make_item(colour="red", category="one", tags=("a",))
    queries()  # what every page may say is found once
    few = queries()
    make_item(colour="blue", category="two", tags=("a", "b"))
    make_item(caption="words", category="three", tags=("c", "d"))
    assert queries() == few


def test_item_added_goes_through_the_ordinary_door(
    admin_client: Client, space: EmbeddingSpace
) -> None:
    tag = Tag.objects.create(name="tea")
    response = admin_client.post(
        reverse("admin:catalog_item_add"),
        {
            "item_id": "mug",
            "title": "Mug",
            "caption": "a red mug",
            "category": "kitchen",
            "tags": [str(tag.pk)],
            "image": SimpleUploadedFile("big.png", picture("red", (900, 600))),
        },
    )
    assert response.status_code == 302
    item = Item.objects.get(item_id="mug")
    assert (item.title, item.category, item.tags.get()) == ("Mug", "kitchen", tag)
    assert (item.width, item.height, len(item.image_hash)) == (900, 600, 64)
    assert str(item.preview.name).startswith("previews/")
    assert _state(item) == ItemState.PENDING
    worker.drain()
    assert [hit.item for hit in search(ask("red mug", all=True)).hits] == [item]


def test_item_added_without_id_gets_one(admin_client: Client, space: EmbeddingSpace) -> None:
    response = admin_client.post(reverse("admin:catalog_item_add"), {"caption": "only words"})
    assert response.status_code == 302
    assert Item.objects.get().item_id.startswith("item_")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "An item needs a caption or an image"),
        ({"image": (b"", "a.png")}, "The file is empty (0 bytes)."),
        ({"image": (picture("red")[:60], "cut.png")}, "'cut.png' is damaged or cut short"),
        ({"image": (b"<svg/>", "a.svg")}, "A picture has to be JPEG"),
        ({"caption": "a", "item_id": "a/b"}, "one of / \\ ? # %"),
        ({"caption": "a", "item_id": "taken"}, "Item with this Item id already exists."),
        ({"caption": "x" * 20_001}, "20,000 is the limit"),
        ({"caption": "a\x00"}, "Null characters are not allowed."),
    ],
)
def test_item_refused_is_a_form_error_with_the_reason(
    admin_client: Client, make_item: MakeItem, fields: dict[str, Any], words: str
) -> None:
    make_item(item_id="taken")
    if "image" in fields:
        data, name = fields["image"]
        fields = {**fields, "image": SimpleUploadedFile(name, data)}
    response = admin_client.post(reverse("admin:catalog_item_add"), fields)
    assert response.status_code == 200
    page = html.unescape(response.content.decode())
    errors = " ".join(re.findall(r'<ul class="errorlist.*?</ul>', page, re.DOTALL))
    assert words in errors
    assert Item.objects.count() == 1


def test_item_changed_keeps_its_picture_and_is_embedded_again(
    admin_client: Client, make_item: MakeItem
) -> None:
    item = make_item(item_id="cup", colour="red", caption="a cup", tags=("tea",))
    worker.drain()
    address = reverse("admin:catalog_item_change", args=[item.pk])
    page = admin_client.get(address).content.decode()
    assert "mm-picture" in page
    assert 'name="item_id"' not in page
    response = admin_client.post(address, {"caption": "a blue cup", "title": "Cup", "tags": []})
    assert response.status_code == 302
    changed = Item.objects.get()
    assert (changed.pk, changed.caption, changed.title) == (item.pk, "a blue cup", "Cup")
    assert (changed.image_hash, changed.tags.count()) == (item.image_hash, 0)
    assert _state(changed) == ItemState.PENDING


def test_item_changed_to_another_picture_replaces_the_file(
    admin_client: Client, make_item: MakeItem, django_capture_on_commit_callbacks: Any
) -> None:
    item = make_item(item_id="cup", colour="red")
    address = reverse("admin:catalog_item_change", args=[item.pk])
    with django_capture_on_commit_callbacks(execute=True):
        admin_client.post(address, {"image": SimpleUploadedFile("b.png", picture("blue"))})
    changed = Item.objects.get()
    assert changed.image_hash != item.image_hash
    assert Path(changed.image.path).exists()
    assert not Path(item.image.path).exists()


def test_item_without_caption_and_picture_cannot_be_saved(
    admin_client: Client, make_item: MakeItem
) -> None:
    item = make_item(caption="words")
    address = reverse("admin:catalog_item_change", args=[item.pk])
    response = admin_client.post(address, {"caption": ""})
    assert response.status_code == 200
    assert "An item needs a caption or an image" in response.content.decode()
    item.refresh_from_db()
    assert item.caption == "words"


def test_item_refused_while_saving_is_said_in_words(
    admin_client: Client, make_item: MakeItem, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = make_item(item_id="cup", colour="red")
    from embeddings.admin_forms import ItemForm

    checked = ItemForm.refuse

    def picture_goes_meanwhile(form: ItemForm, outcome: Any) -> None:
        checked(form, outcome)
        Item.objects.filter(pk=item.pk).update(image="", caption="x")

    monkeypatch.setattr(ItemForm, "refuse", picture_goes_meanwhile)
    address = reverse("admin:catalog_item_change", args=[item.pk])
    response = admin_client.post(address, {"caption": ""}, follow=True)
    assert response.status_code == 200
    assert "An item needs a caption or an image" in response.content.decode()


def test_items_deleted_are_gone_from_search_at_once(
    admin_client: Client, indexed_items: dict[str, Item]
) -> None:
    assert search(ask("red", all=True)).total == 4
    red, green = indexed_items["red"], indexed_items["green"]
    EmbeddingJob.objects.create(
        space=EmbeddingSpace.objects.get(), item=green, run_after=green.created_at
    )
    confirm = admin_client.post(
        reverse(ITEMS), {"action": "delete_selected", "_selected_action": [str(green.pk)]}
    )
    assert "Are you sure" in confirm.content.decode()
    said = _act(admin_client, ITEMS, "delete_selected", green.pk, post="yes")
    assert "Successfully deleted 1 item" in said
    admin_client.post(reverse("admin:catalog_item_delete", args=[red.pk]), {"post": "yes"})
    results = search(ask("red", all=True))
    assert {hit.item.item_id for hit in results.hits} == {"blue", "words"}
    assert results.total == 2


def test_items_embedded_again_on_request(
    admin_client: Client, indexed_items: dict[str, Item]
) -> None:
    red, blue = indexed_items["red"], indexed_items["blue"]
    said = _act(admin_client, ITEMS, "re_embed", red.pk, blue.pk)
    assert said == "Embedding again: 2 items."
    assert [_state(item) for item in indexed_items.values()] == [
        "pending",
        "indexed",
        "pending",
        "indexed",
    ]


def test_failed_items_show_why_and_are_retried_on_request(
    admin_client: Client, make_item: MakeItem
) -> None:
    item = make_item(caption=POISON)
    other = make_item(caption="fine")
    _fail(item)
    change = admin_client.get(reverse("admin:catalog_item_change", args=[item.pk]))
    assert "This text is poison." in change.content.decode()
    said = _act(admin_client, ITEMS, "retry_failed", item.pk, other.pk)
    assert said == "Trying again: 1 failed items."
    assert _state(item) == ItemState.PENDING


# ── jobs and spaces ─────────────────────────────────────────────────────────────────────────────


def test_jobs_show_their_error_and_are_retried_on_request(
    admin_client: Client, make_item: MakeItem
) -> None:
    item = make_item(caption=POISON)
    _fail(item)
    waiting = make_item(caption="waits")
    page = _page(admin_client, JOBS)
    assert "This text is poison." in page
    assert page.index("failed</td>") < page.index("waiting</td>")
    failed = _page(admin_client, JOBS, progress="failed")
    assert (str(item) in failed, str(waiting) in failed) == (True, False)
    assert str(waiting) in _page(admin_client, JOBS, progress="waiting")
    keys = EmbeddingJob.objects.values_list("pk", flat=True)
    assert _act(admin_client, JOBS, "retry", *keys) == "Trying again: 1 failed items."
    assert _state(item) == ItemState.PENDING


def test_jobs_and_spaces_are_read_only(admin_client: Client, make_item: MakeItem) -> None:
    make_item()
    job, space = EmbeddingJob.objects.get(), EmbeddingSpace.objects.get()
    for name, row in (("embeddingjob", job), ("embeddingspace", space)):
        change = reverse(f"admin:embeddings_{name}_change", args=[row.pk])
        assert admin_client.get(change).status_code == 200
        assert admin_client.post(change, {"attempts": "9"}).status_code == 403
        delete = reverse(f"admin:embeddings_{name}_delete", args=[row.pk])
        assert admin_client.post(delete, {"post": "yes"}).status_code == 403
        assert admin_client.get(reverse(f"admin:embeddings_{name}_add")).status_code == 403


# ── the first page ──────────────────────────────────────────────────────────────────────────────


def test_admin_index_shows_the_live_index(
    admin_client: Client, indexed_items: dict[str, Item], make_item: MakeItem
) -> None:
    make_item()
    page = _page(admin_client, "admin:index")
    assert "5 items: 4 indexed" in page
    assert '?state=pending">1 pending</a>' in page
    assert '<th scope="row">pictures</th><td>3</td><td>exact scan</td><td>1 (exact)</td>' in page


@pytest.mark.django_db
def test_admin_index_works_before_a_model_is_open(admin_client: Client) -> None:
    assert "none is open yet" in _page(admin_client, "admin:index")


@pytest.mark.usefixtures("space")
def test_admin_index_says_why_the_index_cannot_be_opened(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space_index, "CATCH_UP_WAIT", 0.0)
    with active_index()._lock:
        assert "The index is loading" in _page(admin_client, "admin:index")


def test_admin_says_while_the_starter_model_is_in_use(
    admin_client: Client, space: EmbeddingSpace
) -> None:
    EmbeddingSpace.objects.update(source="starter")
    assert "The starter model is for trying out." in _page(admin_client, "admin:index")
    assert "The starter model is for trying out." not in _page(admin_client, ITEMS)  # said once
    EmbeddingSpace.objects.update(source="openai/clip-vit-base-patch32")
    overview.forget_outline()
    assert "The starter model is for trying out." not in _page(admin_client, "admin:index")


@pytest.mark.django_db
def test_background_jobs_keep_their_own_pages(admin_client: Client) -> None:
    queue = () if settings.MMSEARCH_BROKER_URL else ("ormq",)  # Redis keeps it elsewhere
    for name in ("schedule", "success", "failure", *queue):
        assert admin_client.get(f"/admin/django_q/{name}/").status_code == 200


def test_picture_is_removed_by_its_box(admin_client: Client, make_item: MakeItem) -> None:
    item = make_item(item_id="a", colour="red", caption="red")
    address = reverse("admin:catalog_item_change", args=[item.pk])
    assert 'name="remove_image"' in admin_client.get(address).content.decode()
    refused = admin_client.post(address, {"caption": "", "remove_image": "on"})
    assert "this one would have neither" in refused.content.decode()
    assert admin_client.post(address, {"caption": "red", "remove_image": "on"}).status_code == 302
    item.refresh_from_db()
    assert (item.image.name, item.preview.name, item.caption) == ("", "", "red")
    assert 'name="remove_image"' not in admin_client.get(address).content.decode()


def test_times_are_told_with_their_zone(admin_client: Client, make_item: MakeItem) -> None:
    item = make_item(item_id="a", caption="red")
    shown = f'<time datetime="{item.created_at.isoformat()}">{item.created_at:%Y-%m-%d %H:%M} UTC<'
    assert shown in _page(admin_client, ITEMS)


def test_linked_folders_are_seen_and_withdrawn(admin_client: Client, db: None) -> None:
    folder = LinkedFolder.objects.create(path="/srv/pictures")
    assert "/srv/pictures" in _page(admin_client, "admin:catalog_linkedfolder_changelist")
    assert admin_client.get(reverse("admin:catalog_linkedfolder_add")).status_code == 403
    address = reverse("admin:catalog_linkedfolder_delete", args=[folder.pk])
    assert admin_client.post(address, {"post": "yes"}).status_code == 302
    assert not LinkedFolder.objects.exists()
