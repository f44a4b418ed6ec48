"""Filters and facets beside plain SQL, and searches within them beside the exact store."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.models import Item, ItemChange, Tag
from embeddings import worker
from embeddings.encoders.base import Modality
from embeddings.query_vectors import encode_query
from embeddings.states import ItemState, in_state
from search.answer.answering import search
from search.answer.facets import FACET_VALUES, count_facets
from search.answer.filters import allowed
from search.answer.query import Filters
from search.answer.syntax import ask
from search.index import item_columns
from search.index.item_columns import prune_log, reset_columns, synced_columns
from search.index.space_index import synced_index
from search.index.stores.faiss import plan
from tests.numpy_store import NumpyStore

MakeItem = Callable[..., Item]
CATEGORIES = ("", "warm", "cold", "Größe, 2")
TAGS = ("a", "b", "c")
BEGINNING = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)

names_of = st.lists(st.sampled_from(TAGS), unique=True, max_size=2).map(tuple)
moments = st.none() | st.integers(0, 12).map(lambda day: BEGINNING + dt.timedelta(days=day))
filters_of_any_kind = st.builds(
    Filters,
    categories=st.lists(st.sampled_from((*CATEGORIES, "unknown")), unique=True, max_size=2).map(
        tuple
    ),
    tags=names_of,
    any_tags=names_of,
    no_tags=names_of,
    has=st.lists(st.sampled_from(Modality), unique=True, max_size=2).map(tuple),
    after=moments,
    before=moments,
    state=st.none() | st.sampled_from(ItemState),
)
changes = st.lists(
    st.tuples(
        st.integers(0, 11),
        st.sampled_from(("category", "tags", "date", "delete", "picture")),
        st.sampled_from(CATEGORIES),
        names_of,
    ),
    max_size=6,
)
no_deadline = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def by_sql(filters: Filters) -> list[int]:
    """The items that the filters allow, as the database has it."""
    items = Item.objects.with_tags(filters.tags)
    if filters.state is not None:
        items = in_state(items, filters.state)  # type: ignore[assignment]
    if filters.categories:
        items = items.filter(category__in=filters.categories)
    if filters.any_tags:
        items = items.filter(pk__in=Item.objects.filter(tags__name__in=filters.any_tags))
    items = items.exclude(pk__in=Item.objects.filter(tags__name__in=filters.no_tags))
    if Modality.IMAGE in filters.has:
        items = items.exclude(image="")
    if Modality.TEXT in filters.has:
        items = items.exclude(caption="")
    if filters.after is not None:
        items = items.filter(created_at__gte=filters.after)
    if filters.before is not None:
        items = items.filter(created_at__lt=filters.before)
    return sorted(items.values_list("pk", flat=True))


def by_columns(filters: Filters) -> list[int]:
    columns = synced_columns()
    ids = allowed(columns, filters)
    pks: list[int] = (columns.ids if ids is None else ids.ids).tolist()
    return pks


def counted_by_sql(values: str, pks: list[int]) -> list[tuple[str, int]]:
    items = Item.objects.filter(pk__in=pks).exclude(**{values: ""}).exclude(**{values: None})
    counts = Counter(items.order_by().values_list(values, flat=True))
    return sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))[:FACET_VALUES]


@pytest.fixture
def twelve_items(make_item: MakeItem) -> None:
    for number in range(12):
        make_item(
            item_id=f"i{number}",
            colour="red" if number % 3 else None,
            caption=f"thing {number}" if number % 2 or not number % 3 else None,
            category=CATEGORIES[number % 4],
            tags=tuple(tag for place, tag in enumerate(TAGS) if number >> place & 1),
        )
        moved = BEGINNING + dt.timedelta(days=number)
        item = Item.objects.get(item_id=f"i{number}")
        item.created_at = moved
        item.save()
        if number == 8:
            worker.drain()


def apply(
    make_item: MakeItem, number: int, kind: str, category: str, tags: tuple[str, ...]
) -> None:
    item = Item.objects.filter(item_id=f"i{number}").first()
    if kind == "delete":
        if item is not None:
            item.delete()
    elif item is None or kind == "category":
        make_item(item_id=f"i{number}", category=category)
    elif kind == "tags":
        item.tags.set([Tag.objects.get_or_create(name=tag)[0] for tag in tags])
    elif kind == "picture":
        make_item(item_id=f"i{number}", colour="blue")
    else:
        item.created_at = BEGINNING + dt.timedelta(days=len(tags))
        item.save()


@pytest.mark.usefixtures("twelve_items")
class TestColumns:
    @no_deadline
    @given(steps=changes, filters=filters_of_any_kind)
    def test_filters_and_facets_are_those_of_sql_after_every_change(
        self,
        make_item: MakeItem,
        steps: list[tuple[int, str, str, tuple[str, ...]]],
        filters: Filters,
    ) -> None:
        for step in steps:
            assert by_columns(filters) == by_sql(filters)
            apply(make_item, *step)
        expected = by_sql(filters)
        assert by_columns(filters) == expected
        facets = count_facets(synced_columns(), np.array(expected, dtype=np.int64))
        assert list(facets.categories) == counted_by_sql("category", expected)
        assert list(facets.tags) == counted_by_sql("tags__name", expected)

    def test_a_renamed_or_deleted_tag_is_noticed(self) -> None:
        assert by_columns(Filters(tags=("a",))) == by_sql(Filters(tags=("a",))) != []
        tag = Tag.objects.get(name="a")
        tag.name = "new"
        tag.save()
        assert by_columns(Filters(tags=("a",))) == []
        assert by_columns(Filters(tags=("new",))) == by_sql(Filters(tags=("new",)))
        counted = count_facets(synced_columns(), synced_columns().ids)
        assert dict(counted.tags).keys() == {"new", "b", "c"}
        tag.delete()
        assert by_columns(Filters(tags=("new",))) == []

    def test_a_set_is_worked_out_once_until_something_changes(self, make_item: MakeItem) -> None:
        filters = Filters(categories=("warm",))
        synced_columns()
        first = allowed(synced_columns(), filters)
        assert allowed(synced_columns(), Filters(categories=("warm",))) is first
        make_item(item_id="i0", category="warm")
        assert allowed(synced_columns(), filters) is not first

    def test_a_pruned_log_and_a_gap_in_it_lose_nothing(
        self, make_item: MakeItem, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        filters = Filters(categories=("late",))
        by_columns(filters)
        make_item(item_id="i1", category="late")
        monkeypatch.setattr(item_columns, "LOG_LINES", 1)
        make_item(item_id="i2", category="late")
        prune_log()
        assert ItemChange.objects.count() == 1
        assert by_columns(filters) == by_sql(filters)

        last = ItemChange.objects.latest("seq").seq
        take_numbers(2)  # by transactions that commit later, or never
        make_item(item_id="i3", category="late")
        assert by_columns(filters) == by_sql(filters)
        Item.objects.filter(item_id="i4").update(category="late")
        ItemChange.objects.create(seq=last + 2, item=Item.objects.get(item_id="i4").pk)
        assert by_columns(filters) == by_sql(filters)
        monkeypatch.setattr(item_columns, "GAP_PATIENCE", 0.0)
        take_numbers(9)
        make_item(item_id="i5", category="late")
        for name in ("i6", "i7"):
            assert by_columns(filters) == by_sql(filters)
            make_item(item_id=name, category="late")
        assert by_columns(filters) == by_sql(filters)


def take_numbers(count: int) -> None:
    """Leave a gap in the numbers of the item log."""
    statement = {
        "sqlite": "UPDATE sqlite_sequence SET seq = seq + %s WHERE name = 'catalog_itemchange'",
        "postgresql": "SELECT nextval(pg_get_serial_sequence('catalog_itemchange', 'seq'))"
        " FROM generate_series(1, %s)",
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(statement, [count])


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An approximate index from the first vector on."""
    monkeypatch.setattr(plan, "EXACT_ROWS", 8)
    yield
    reset_columns()


COLOURS = ("red", "green", "blue", "yellow", "purple", "white", "black")


@pytest.fixture
def catalogue(graph: None, make_item: MakeItem) -> None:
    for number in range(70):
        make_item(
            caption=f"{COLOURS[number % 7]} {COLOURS[number // 7 % 7]} thing {number}",
            colour=COLOURS[number % 5] if number % 4 == 0 else None,
            category=CATEGORIES[number % 3],
            tags=(TAGS[number % 2],) if number % 10 else ("c",),
        )
    worker.drain()
    for store in synced_index().replicas.values():
        store.compact()


@pytest.mark.usefixtures("catalogue")
class TestSearchWithinFilters:
    @no_deadline
    @given(
        words=st.lists(st.sampled_from((*COLOURS, "thing")), min_size=1, max_size=3).map(" ".join),
        filters=filters_of_any_kind.map(lambda f: dataclasses.replace(f, after=None, before=None)),
        modality=st.sampled_from(Modality),
    )
    def test_the_nearest_are_those_of_the_exact_store(
        self, words: str, filters: Filters, modality: Modality
    ) -> None:
        store = synced_index().replicas[modality]
        oracle = NumpyStore(store.dimension)
        oracle.upsert(store.ids(), store.fetch(store.ids()))
        oracle.commit(1)
        vector = encode_query(synced_index().space, Modality.TEXT, words)
        columns = synced_columns()
        (expected,) = oracle.search(vector[None], 10, allowed=allowed(columns, filters))

        found = search(
            ask(words, modality=modality.value, filters=filters, all=True, facets=True, top_n=10)
        )

        assert [hit.item.pk for hit in found.hits] == expected.ids.tolist()
        pks = by_sql(filters)
        assert found.total == len(set(pks) & set(store.ids().tolist()))
        assert list(found.facets.categories) == counted_by_sql("category", pks)

    @no_deadline
    @given(words=st.sampled_from(COLOURS), filters=filters_of_any_kind, least=st.floats(0, 1))
    def test_facets_count_every_hit_and_no_other(
        self, words: str, filters: Filters, least: float
    ) -> None:
        found = search(ask(words, filters=filters, min_score=least, facets=True, top_n=100))
        pks = [hit.item.pk for hit in found.hits]

        assert found.total == len(pks)
        assert set(pks) <= set(by_sql(filters))
        assert all(hit.score >= least for hit in found.hits)
        assert list(found.facets.categories) == counted_by_sql("category", pks)
        assert list(found.facets.tags) == counted_by_sql("tags__name", pks)
