from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from pytest_django import DjangoAssertNumQueries

from catalog.models import Item
from embeddings import worker
from embeddings.backends import encoder_of
from embeddings.encoders.base import Modality
from embeddings.models import Embedding
from embeddings.spaces import require_active_space
from search.answer.answering import UnknownItem, search
from search.answer.query import QueryError, SearchQuery
from search.index.space_index import active_index


def found(query: SearchQuery) -> list[str]:
    return [hit.item.item_id for hit in search(query).hits]


@pytest.mark.usefixtures("indexed_items")
class TestSearch:
    def test_words_find_the_picture(self) -> None:
        results = search(SearchQuery(text="blue"))

        assert results.hits[0].item.item_id == "blue"
        assert results.hits[0].modality is Modality.IMAGE
        assert results.total == 4

    def test_a_picture_finds_its_like(self) -> None:
        assert found(SearchQuery(image=Image.new("RGB", (8, 8), "green")))[0] == "green"

    def test_words_and_a_picture_combine(self) -> None:
        red = Image.new("RGB", (8, 8), "red")
        assert found(SearchQuery(image=red, text="blue", top_n=2)) != found(
            SearchQuery(image=red, top_n=2)
        )
        assert set(found(SearchQuery(image=red, text="blue", top_n=2))) == {"red", "blue"}

    def test_modality_limits_which_vectors_match(self) -> None:
        assert set(found(SearchQuery(text="red", modality="image"))) == {"red", "green", "blue"}
        assert found(SearchQuery(text="red", modality="text")) == ["words"]

    def test_filters_hold_for_every_hit(self) -> None:
        results = search(SearchQuery(text="red", category="cold"))
        assert {hit.item.item_id for hit in results.hits} == {"green", "blue"}
        assert results.total == 2

        assert found(SearchQuery(text="red", tags=("colour", "sea"))) == ["blue"]
        assert found(SearchQuery(text="red", tags=("nothing",))) == []

    def test_pages_continue_one_another(self) -> None:
        whole = found(SearchQuery(text="red", top_n=4))
        pages = [found(SearchQuery(text="red", top_n=2, offset=offset)) for offset in (0, 2, 4)]

        assert pages == [whole[:2], whole[2:], []]

    def test_like_leaves_the_item_itself_out(self, make_item: Callable[..., Item]) -> None:
        make_item(item_id="red-again", colour="red")
        worker.drain()

        results = search(SearchQuery(like="red", top_n=10))
        assert results.hits[0].item.item_id == "red-again"
        assert "red" not in [hit.item.item_id for hit in results.hits]
        assert results.total == 4
        assert search(SearchQuery(like="red", category="warm")).total == 0

    def test_like_of_a_pending_item_says_so(self, make_item: Callable[..., Item]) -> None:
        make_item(item_id="pending")

        with pytest.raises(UnknownItem, match="no vector yet"):
            search(SearchQuery(like="pending"))
        with pytest.raises(UnknownItem, match="There is no item 'nobody'"):
            search(SearchQuery(like="nobody"))

    def test_a_deleted_item_is_gone_at_once(self) -> None:
        assert found(SearchQuery(text="red"))[0] == "red"
        Item.objects.get(item_id="red").delete()

        assert "red" not in found(SearchQuery(text="red", top_n=10))
        assert search(SearchQuery(text="red")).total == 3

    def test_facets_count_the_best_matches(self) -> None:
        facets = search(SearchQuery(text="red", facets=True)).facets

        assert facets.categories == (("cold", 2), ("warm", 1))
        assert dict(facets.tags) == {"colour": 3, "fire": 1, "sea": 1}

    @pytest.mark.parametrize("top_n", [1, 3])
    def test_queries_do_not_grow_with_the_hits(
        self, top_n: int, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        search(SearchQuery(text="red"))
        with django_assert_num_queries(3):  # space and log, items, tags
            search(SearchQuery(text="red", top_n=top_n))

    def test_scores_are_centred_inner_products(self) -> None:
        query = (
            encoder_of(require_active_space()).encode(Modality.TEXT, ["red"])[0].astype(np.float64)
        )
        images = {
            row.item.item_id: row.as_array().astype(np.float64)
            for row in Embedding.objects.filter(modality="image").select_related("item")
        }
        centre = np.sum(list(images.values()), axis=0) / (len(images) + 10)
        expected = {name: query @ vector - query @ centre for name, vector in images.items()}

        hits = search(SearchQuery(text="red", modality="image")).hits

        assert {hit.item.item_id: hit.score for hit in hits} == pytest.approx(expected, abs=1e-6)


def test_an_empty_catalogue_answers_with_nothing(space: object) -> None:
    results = search(SearchQuery(text="red"))

    assert (results.hits, results.total) == ((), 0)


def test_the_index_follows_edits(make_item: Callable[..., Item]) -> None:
    item = make_item(colour="red")
    make_item(colour="green")
    worker.drain()
    assert found(SearchQuery(text="red", top_n=1)) == [item.item_id]

    make_item(item_id=item.item_id, colour="blue")
    worker.drain()

    assert found(SearchQuery(text="blue", top_n=1)) == [item.item_id]
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
        ({"text": "a", "category": "\x00"}, "category"),
        ({"text": "a", "tags": ("\x00",)}, "tags"),
    ],
)
def test_a_query_that_cannot_be_answered_names_the_field(
    arguments: dict[str, object], field: str
) -> None:
    with pytest.raises(QueryError) as caught:
        SearchQuery(**arguments)  # type: ignore[arg-type]

    assert caught.value.field == field
