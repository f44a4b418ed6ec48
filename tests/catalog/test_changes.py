"""Every way in which an item comes, changes or goes leaves a line in the catalogue's log."""

from __future__ import annotations

import pytest

from catalog.deletion import delete_items
from catalog.ingest import ItemRecord, ingest_one
from catalog.models import Item, ItemChange, Tag

pytestmark = pytest.mark.django_db


def stored(item_id: str, **fields: object) -> int:
    outcome = ingest_one(ItemRecord(item_id=item_id, **{"caption": item_id, **fields}))  # type: ignore[arg-type]
    assert outcome.pk is not None
    return outcome.pk


def logged() -> list[int]:
    """Items in the log since the last call."""
    lines = list(ItemChange.objects.order_by("seq").values_list("item", flat=True))
    ItemChange.objects.all().delete()
    return lines


def test_the_pipeline_logs_what_it_writes_and_nothing_else() -> None:
    one = stored("one", tags=("a", "b"))
    assert logged() == [one]
    stored("one", tags=("b", "a"))
    assert logged() == []
    stored("one", title="One")
    stored("one", tags=("a",))
    assert logged() == [one, one]


def test_saving_and_deleting_are_logged() -> None:
    one, two = stored("one"), stored("two")
    logged()
    item = Item.objects.get(pk=one)
    item.category = "new"
    item.save()
    assert logged() == [one]
    item.delete()
    assert logged() == [one]
    assert list(delete_items(Item.objects.all())) == [1]
    assert logged() == [two]


def test_tags_put_on_and_taken_off_are_logged_from_either_side() -> None:
    one, two = stored("one", tags=("a",)), stored("two", tags=("a",))
    logged()
    item, tag = Item.objects.get(pk=one), Tag.objects.get(name="a")
    item.tags.add(Tag.objects.create(name="b"))
    assert logged() == [one]
    item.tags.clear()
    assert logged() == [one]
    tag.items.add(item)
    assert logged() == [one]
    tag.items.clear()
    assert logged() == [one, two]
    tag.items.set([item])
    assert logged() == [one]


def test_a_tag_that_is_renamed_or_deleted_changes_its_items() -> None:
    one, two = stored("one", tags=("a", "b")), stored("two", tags=("a",))
    logged()
    tag = Tag.objects.get(name="a")
    tag.name = "c"
    tag.save()
    assert logged() == [one, two]
    tag.delete()
    assert logged() == [one, two]
