"""Whatever happens to items, their words are those that a fresh index would hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.deletion import delete_items
from catalog.ingest import ItemRecord, OutcomeKind, ingest
from catalog.models import Item, ItemWords, Tag
from catalog.words import items_with, search_words, upkeep
from catalog.words.upkeep import WordComparison

pytestmark = pytest.mark.django_db

MakeItem = Callable[..., Item]

text = st.sampled_from(["", "red apple", "QX-1042", "東京タワー", "green apples", "Ｃａｆé"])
name = st.sampled_from(["a", "b", "c"])
step = st.one_of(
    st.tuples(st.just("ingest"), st.lists(st.tuples(name, text, text, st.sets(text)), max_size=3)),
    st.tuples(st.just("save"), name, text),
    st.tuples(st.just("put on"), name, text),
    st.tuples(st.just("take off"), name),
    st.tuples(st.just("rename tag"), text, text),
    st.tuples(st.just("delete tag"), text),
    st.tuples(st.just("clear tag"), text),
    st.tuples(st.just("delete"), name),
    st.tuples(st.just("delete in bulk"), name),
)


def take(action: str, target: Any, *given: Any) -> None:
    if action == "ingest":
        records = (
            ItemRecord(item_id=key, title=title, caption=caption or "x", tags=tuple(tags - {""}))
            for key, title, caption, tags in target
        )
        outcomes = [outcome.kind for outcome in ingest(records)]
        assert OutcomeKind.REJECTED not in outcomes
    elif action.endswith("tag") and (tag := Tag.objects.filter(name=target).first()):
        change_tag(action, tag, *given)
    elif item := Item.objects.filter(item_id=target).first():
        change_item(action, item, *given)


def change_tag(action: str, tag: Tag, *given: str) -> None:
    if action == "rename tag" and not Tag.objects.filter(name=given[0]).exists():
        tag.name = given[0]
        tag.save()
    elif action == "delete tag":
        tag.delete()
    elif action == "clear tag":
        tag.items.clear()


def change_item(action: str, item: Item, *given: str) -> None:
    if action == "save":
        item.title = item.category = given[0]
        item.save()
    elif action == "put on" and given[0]:
        item.tags.add(Tag.objects.get_or_create(name=given[0])[0])
    elif action == "take off":
        item.tags.clear()
    elif action == "delete":
        item.delete()
    elif action == "delete in bulk":
        assert list(delete_items(Item.objects.filter(pk=item.pk))) == [1]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(step, max_size=12))
def test_any_sequence_of_changes_leaves_the_index_as_a_fresh_one(
    steps: list[tuple[Any, ...]],
) -> None:
    with transaction.atomic():
        for each in steps:
            take(*each)
        assert upkeep.compare() == WordComparison(items=Item.objects.count())
        assert sorted(ItemWords.objects.values_list("item_id", flat=True)) == sorted(
            Item.objects.values_list("pk", flat=True)
        )
        has_apples = [
            item.pk
            for item in Item.objects.order_by("pk").prefetch_related("tags")
            if any(
                "apple" in said
                for said in (item.title, item.caption, *map(str, item.tags.all()), item.category)
            )
        ]
        assert items_with("apple", inflected=True).tolist() == has_apples
        transaction.set_rollback(True)


def test_what_was_rolled_back_is_not_found(make_item: MakeItem) -> None:
    item = make_item(title="Before")
    with transaction.atomic():
        item.title = "After"
        item.save()
        assert search_words("after").items.tolist() == [item.pk]
        transaction.set_rollback(True)
    assert search_words("after").items.size == 0
    assert search_words("before").items.tolist() == [item.pk]


def test_compare_counts_what_is_wrong_and_rebuild_mends_it(make_item: MakeItem) -> None:
    keys = [make_item(title=f"Title {number}").pk for number in range(4)]
    ItemWords.objects.filter(item=keys[0]).delete()
    ItemWords.objects.filter(item=keys[1]).update(title="other")
    assert upkeep.compare() == WordComparison(items=4, missing=1, different=1)
    assert sum(upkeep.rebuild_index()) == 4
    assert upkeep.compare() == WordComparison(items=4)
    assert search_words("title").items.tolist() == keys
