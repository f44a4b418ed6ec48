"""Pages by cursor show every hit once, whatever comes and goes between them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.models import Item
from embeddings import worker
from search.answer import cursors
from search.answer.answering import search
from search.answer.query import START, Filters, QueryError, SearchQuery
from search.answer.syntax import ask
from search.models import KeptRanking

MakeItem = Callable[..., Item]
COLOURS = ("red", "green", "blue", "yellow")
QUERY = ask("red thing", all=True, top_n=4, cursor=START)


@pytest.fixture
def many_items(make_item: MakeItem) -> list[str]:
    names = [f"item-{number}" for number in range(22)]
    for number, name in enumerate(names):
        colour = COLOURS[number % 4]
        make_item(item_id=name, caption=f"{colour} thing {number}", category=colour)
    worker.drain()
    return names


def page(query: SearchQuery) -> tuple[list[str], str | None]:
    results = search(query)
    return [hit.item.item_id for hit in results.hits], results.cursor


def rest(query: SearchQuery, cursor: str | None) -> list[str]:
    """All that follows a cursor."""
    names: list[str] = []
    while cursor is not None:
        more, cursor = page(dataclasses.replace(query, cursor=cursor))
        names += more
    return names


@pytest.mark.usefixtures("many_items")
class TestCursor:
    def test_pages_are_the_ranking_cut_in_pieces(self) -> None:
        whole, _ = page(ask("red thing", all=True, top_n=100))
        first, cursor = page(QUERY)

        assert first == whole[:4]
        assert rest(QUERY, cursor) == whole[4:]

    @settings(
        max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(
        deleted=st.sets(st.integers(0, 19), max_size=8),
        moved=st.sets(st.integers(0, 19), max_size=8),
        added=st.integers(0, 4),
        top_n=st.integers(1, 9),
    )
    def test_what_was_there_all_along_comes_exactly_once(
        self, make_item: MakeItem, deleted: set[int], moved: set[int], added: int, top_n: int
    ) -> None:
        query = dataclasses.replace(QUERY, top_n=top_n)
        whole, _ = page(ask("red thing", all=True, top_n=100))
        first, cursor = page(query)

        new = {make_item(colour="red", title="red thing").item_id for _ in range(added)}
        gone = {whole[number] for number in deleted}
        Item.objects.filter(item_id__in=gone).delete()
        for number in sorted(moved - deleted):
            make_item(item_id=whole[number], caption=f"red thing, moved {number}")
        new |= {make_item(caption=f"thing like {name}").item_id for name in sorted(gone)}
        worker.drain()
        following = rest(query, cursor)

        assert following == [name for name in whole[top_n:] if name not in gone]
        assert not new & {*first, *following}
        assert new <= set(page(ask("red thing", all=True, top_n=100))[0])

    def test_what_is_no_longer_allowed_makes_room(self, make_item: MakeItem) -> None:
        query = ask("thing", filters=Filters(categories=("red",)), all=True, cursor=START, top_n=2)
        _, cursor = page(query)
        following = rest(query, cursor)
        make_item(item_id=following[0], category="other")

        again, _ = page(dataclasses.replace(query, cursor=cursor or ""))
        assert again == following[1:3]

    def test_a_list_without_a_question_pages_too(self) -> None:
        query = ask("category:red", cursor=START, top_n=2)
        names, cursor = page(query)

        assert names + rest(query, cursor) == [f"item-{n}" for n in (20, 16, 12, 8, 4, 0)]

    def test_a_cursor_is_of_one_query(self) -> None:
        cursor = page(QUERY)[1] or ""
        for other, message in (
            (ask("blue thing", all=True, cursor=cursor), "This cursor is of another query"),
            (ask("red thing", cursor=cursor), "This cursor is of another query"),
            (ask("red thing", all=True, cursor="x"), "'x' is no cursor; begin with 'start'."),
        ):
            with pytest.raises(QueryError, match=message) as caught:
                search(other)
            assert caught.value.field == "cursor"
        assert page(dataclasses.replace(QUERY, cursor=cursor, top_n=1))[0]

    def test_rankings_are_kept_for_a_while(self, monkeypatch: pytest.MonkeyPatch) -> None:
        cursor = page(QUERY)[1] or ""
        KeptRanking.objects.update(created_at=timezone.now() - cursors.KEPT_FOR - timedelta(1))
        page(QUERY)
        with pytest.raises(QueryError, match="This cursor is no longer kept"):
            page(dataclasses.replace(QUERY, cursor=cursor))

        monkeypatch.setattr(cursors, "MAX_KEPT", 3)
        kept = [page(QUERY)[1] or "" for _ in range(5)]
        assert KeptRanking.objects.count() == 3
        assert page(dataclasses.replace(QUERY, cursor=kept[2]))[0]
