from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings as project
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoCaptureOnCommitCallbacks
from pytest_django.fixtures import Settings

from catalog import deletion
from catalog.deletion import delete_items, demo_items, items_of_ids
from catalog.models import Item
from embeddings import worker
from embeddings.models import Embedding, EmbeddingJob, EmbeddingSpace, VectorChange
from search.index.space_index import active_index
from tests.catalog.pictures import files


def caption_items(count: int) -> None:
    for number in range(count):
        Item.objects.create(item_id=f"i{number}", caption=f"caption {number}")


@pytest.mark.usefixtures("space")
def test_deletion_goes_batch_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletion, "BATCH", 4)
    caption_items(10)
    kept = Item.objects.create(item_id="kept", caption="x", category="k")
    assert list(delete_items(Item.objects.filter(category=""))) == [4, 4, 2]
    assert list(Item.objects.all()) == [kept]
    assert [job.item for job in EmbeddingJob.objects.all()] == [kept]


@pytest.mark.usefixtures("space")
def test_deletion_left_off_keeps_whole_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletion, "BATCH", 4)
    caption_items(10)
    assert next(delete_items(Item.objects.all())) == 4
    assert Item.objects.count() == EmbeddingJob.objects.count() == 6


def test_deletion_takes_vectors_log_index_and_files_along(
    indexed_items: dict[str, Item],
    settings: Settings,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    index = active_index()
    index.catch_up()
    before = VectorChange.objects.count()
    gone = ["red", "words"]
    stored = {indexed_items["red"].image.name}
    media = Path(settings.MEDIA_ROOT)
    assert stored <= set(files(media))
    with django_capture_on_commit_callbacks(execute=True):
        assert list(delete_items(Item.objects.filter(item_id__in=gone))) == [2]
    assert not stored & set(files(media))
    assert set(Item.objects.values_list("item_id", flat=True)) == {"green", "blue"}
    assert set(Embedding.objects.values_list("item__item_id", flat=True)) == {"green", "blue"}
    logged = VectorChange.objects.order_by("seq").values_list("modality", "vector_item")[before:]
    assert sorted(logged) == [
        ("image", indexed_items["red"].pk),
        ("text", indexed_items["words"].pk),
    ]
    index.catch_up()
    assert sum(len(store) for store in index.stores.values()) == Embedding.objects.count()


def test_deletion_asks_once_a_batch_for_vectors(
    space: EmbeddingSpace, make_item: Callable[..., Item]
) -> None:
    counts = []
    for number in (1, 20):
        for _ in range(number):
            make_item()
        worker.drain()
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert sum(delete_items(Item.objects.all())) == number
        counts.append(sum(q["sql"].startswith(("INSERT", "DELETE")) for q in queries))
    assert counts[0] == counts[1]


@pytest.mark.usefixtures("db")
def test_items_of_ids_come_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletion, "BATCH", 2)
    caption_items(5)
    pieces = list(items_of_ids(["i0", "i1", "i2", "nobody", "i4"]))
    assert [set(piece.values_list("item_id", flat=True)) for piece in pieces] == [
        {"i0", "i1"},
        {"i2"},
        {"i4"},
    ]


@pytest.mark.usefixtures("db")
def test_demo_items_are_those_with_the_demos_own_picture() -> None:
    with (project.BASE_DIR / "demo" / "metadata.csv").open(newline="") as file:
        first, second, third, *_ = (row["id"] for row in csv.DictReader(file))
    demo = Item.objects.create(item_id=first, caption="x", original_filename=f"{first}.webp")
    Item.objects.create(item_id=second, caption="mine", original_filename="mine.jpg")
    Item.objects.create(item_id=third, caption="mine too")
    Item.objects.create(item_id="mine", caption="x", original_filename="mine.webp")
    assert list(demo_items()) == [demo]
