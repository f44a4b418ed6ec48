from __future__ import annotations

from collections.abc import Callable

import pytest
from PIL import Image
from pytest_django import DjangoAssertNumQueries

from catalog.models import Item
from embeddings import worker
from embeddings.encoders.base import Modality
from search.answer.answering import UnknownItem, search
from search.answer.query import Filters, QueryError, SearchQuery
from search.answer.syntax import ask
from search.index.space_index import active_index


def found(query: SearchQuery) -> list[str]:
    return [hit.item.item_id for hit in search(query).hits]


@pytest.mark.usefixtures("indexed_items")
class TestSearch:
    def test_words_find_the_picture(self) -> None:
        results = search(ask("blue"))

        hit = results.hits[0]
        assert (hit.item.item_id, hit.matched) == ("blue", "image")
        assert results.total == 4  # among so few everything is shown

    def test_all_ranks_everything_and_min_score_cuts_it(self) -> None:
        everything = search(ask("blue", all=True))
        assert (len(everything.hits), everything.total) == (4, 4)
        names = [hit.item.item_id for hit in everything.hits]
        assert found(ask("blue", all=True, top_n=2)) == names[:2]
        assert found(ask("blue", min_score=0)) == names
        assert found(ask("blue", min_score=everything.hits[0].score)) == ["blue"]
        assert search(ask("blue", min_score=everything.hits[0].score)).total == 1

    def test_a_picture_finds_its_like(self) -> None:
        assert found(ask(image=Image.new("RGB", (8, 8), "green")))[0] == "green"

    def test_words_and_a_picture_combine(self) -> None:
        red = Image.new("RGB", (8, 8), "red")
        assert found(ask(image=red, text="blue", top_n=2)) != found(ask(image=red, top_n=2))
        assert set(found(ask(image=red, text="blue", top_n=2))) == {"red", "blue"}

    def test_modality_limits_which_vectors_match(self) -> None:
        assert set(found(ask("red", modality="image", all=True))) == {"red", "green", "blue"}
        assert found(ask("red", modality="text", all=True)) == ["words"]

    def test_filters_hold_for_every_hit(self) -> None:
        results = search(ask("red", all=True, filters=Filters(categories=("cold",))))
        assert {hit.item.item_id for hit in results.hits} == {"green", "blue"}
        assert results.total == 2

        assert found(ask("red", all=True, filters=Filters(tags=("colour", "sea")))) == ["blue"]
        assert found(ask("red", filters=Filters(tags=("nothing",)))) == []

    def test_pages_continue_one_another(self) -> None:
        whole = found(ask("red", top_n=4, all=True))
        pages = [found(ask("red", top_n=2, offset=offset, all=True)) for offset in (0, 2, 4)]

        assert pages == [whole[:2], whole[2:], []]

    def test_like_leaves_the_item_itself_out(self, make_item: Callable[..., Item]) -> None:
        make_item(item_id="red-again", colour="red")
        worker.drain()

        results = search(ask(like="red", top_n=10, all=True))
        assert results.hits[0].item.item_id == "red-again"
        assert "red" not in [hit.item.item_id for hit in results.hits]
        assert results.total == 4
        assert search(ask(like="red", filters=Filters(categories=("warm",)))).total == 0

    def test_like_of_a_pending_item_says_so(self, make_item: Callable[..., Item]) -> None:
        make_item(item_id="pending")

        with pytest.raises(UnknownItem, match="no vector yet"):
            search(ask(like="pending"))
        with pytest.raises(UnknownItem, match="There is no item 'nobody'"):
            search(ask(like="nobody"))

    def test_a_deleted_item_is_gone_at_once(self) -> None:
        assert found(ask("red"))[0] == "red"
        Item.objects.get(item_id="red").delete()

        assert "red" not in found(ask("red", top_n=10, all=True))
        assert search(ask("red", all=True)).total == 3

    def test_facets_count_the_hits(self) -> None:
        best = search(ask("red")).hits[0].score
        alone = search(ask("red", facets=True, min_score=best)).facets
        assert alone.tags == (("colour", 1), ("fire", 1))
        facets = search(ask("red", facets=True, all=True)).facets

        assert facets.categories == (("cold", 2), ("warm", 1))
        assert facets.tags == (("colour", 3), ("fire", 1), ("sea", 1))

    def test_queries_do_not_grow_with_the_hits(
        self, django_assert_max_num_queries: DjangoAssertNumQueries
    ) -> None:
        search(ask("red"))
        counts = []
        for top_n in (1, 3):
            with django_assert_max_num_queries(7) as queries:  # space and log, words, items
                search(ask("red", top_n=top_n))
            counts.append(len(queries))
        assert counts[0] == counts[1]


def test_an_empty_catalogue_answers_with_nothing(space: object) -> None:
    results = search(ask("red"))

    assert (results.hits, results.total) == ((), 0)


@pytest.mark.parametrize("text", ["...", "?!", "|", "***"])
def test_a_text_without_a_word_is_answered_within_a_filter(
    text: str, indexed_items: dict[str, Item]
) -> None:
    query = ask(text, filters=Filters(categories=("warm",)), all=True)
    assert [hit.item.item_id for hit in search(query).hits] == ["red"]


def test_the_index_follows_edits(make_item: Callable[..., Item]) -> None:
    item = make_item(colour="red")
    make_item(colour="green")
    worker.drain()
    assert found(ask("red", top_n=1)) == [item.item_id]

    make_item(item_id=item.item_id, colour="blue")
    worker.drain()

    assert found(ask("blue", top_n=1)) == [item.item_id]
    assert len(active_index().stores[Modality.IMAGE]) == 2


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({}, "text"),
        ({"text": "  "}, "text"),
        ({"text": "x" * 2001}, "text"),
        ({"text": "nul\x00"}, "text"),
        ({"text": "\ud800"}, "text"),
        ({"text": "a", "top_n": 0}, "top_n"),
        ({"text": "a", "top_n": 1001}, "top_n"),
        ({"text": "a", "offset": -1}, "offset"),
        ({"text": "a", "modality": "sound"}, "modality"),
        ({"text": "a", "min_score": 1.1}, "min_score"),
        ({"text": "a", "min_score": float("nan")}, "min_score"),
        ({"text": "tag:\x00"}, "tags"),
        ({"text": "-blue"}, "text"),
        ({"text": "-2*blue tag:sea"}, "text"),
    ],
)
def test_a_query_that_cannot_be_answered_names_the_field(
    arguments: dict[str, object], field: str
) -> None:
    with pytest.raises(QueryError) as caught:
        ask(**arguments)  # type: ignore[arg-type]

    assert caught.value.field == field
