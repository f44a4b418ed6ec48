"""A space covers what its model does; nothing but the registry of parts knows what that is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.core.management import call_command

from catalog.models import Item
from embeddings import states, worker
from embeddings.encoders import base
from embeddings.encoders.base import Modality
from embeddings.models import Embedding, EmbeddingJob, EmbeddingSpace, VectorChange
from embeddings.opening import open_space
from embeddings.parts import PARTS, Part
from embeddings.query_vectors import warm_up
from search.answer.answering import search
from search.answer.query import QueryError
from search.answer.syntax import ask
from search.index.space_index import active_index
from search.operations.stats import system_stats
from tests import encoders

MakeItem = Callable[..., Item]


@pytest.fixture
def title(monkeypatch: pytest.MonkeyPatch) -> Modality:
    """A modality that is made up: the titles of items, which are texts that are their own hash."""
    made_up = str.__new__(Modality, "title")
    made_up._name_, made_up._value_ = "TITLE", "title"
    monkeypatch.setitem(Modality._value2member_map_, "title", made_up)
    monkeypatch.setitem(PARTS, made_up, Part("title", "title", lambda item: item.title))
    monkeypatch.setitem(base.EXAMPLES, made_up, lambda: "a title")
    monkeypatch.setitem(encoders.FEATURES, made_up, encoders.FEATURES[Modality.TEXT])
    return made_up


@pytest.fixture
def covers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[Modality, ...]:
    """The modalities of the space; `title` is the made-up one."""
    names: tuple[str, ...] = request.param
    if "title" in names:
        request.getfixturevalue("title")
    covered = tuple(Modality(name) for name in names)
    monkeypatch.setitem(encoders.COVERS, "colour", covered)
    return covered


@pytest.fixture
def space(db: None, covers: tuple[Modality, ...]) -> EmbeddingSpace:
    opened = open_space().space
    assert opened is not None
    return opened


def indexes() -> list[tuple[str, str, int]]:
    return [(each.modality, each.name, each.store.count) for each in system_stats().indexes]


def says(capsys: pytest.CaptureFixture[str]) -> str:
    call_command("check_index")
    return capsys.readouterr().out


@pytest.mark.parametrize("covers", [("text",)], indirect=True)
def test_a_model_of_texts_alone_embeds_finds_and_counts_captions(
    make_item: MakeItem, space: EmbeddingSpace, capsys: pytest.CaptureFixture[str]
) -> None:
    make_item(item_id="both", colour="red", caption="blue thing")
    make_item(item_id="words", caption="quiet evening")
    make_item(item_id="picture", colour="green")
    encoders.ENCODED.clear()
    assert worker.drain() == worker.DrainReport(indexed=2, failed=1)

    assert encoders.ENCODED == {Modality.TEXT: 2}
    assert set(Embedding.objects.values_list("item__item_id", "modality")) == {
        ("both", "text"),
        ("words", "text"),
    }
    assert EmbeddingJob.objects.get().error == (
        "The model covers no more than captions, and the item has none."
    )
    assert states.counts() == states.StateCounts(items=3, indexed=2, pending=1, failed=0)
    assert [hit.item.item_id for hit in search(ask("blue", all=True)).hits] == ["both", "words"]
    assert search(ask("blue", modality="text", all=True)).hits[0].matched == "text"
    assert indexes() == [("text", "captions", 2)]
    assert "text: 2 vectors in the database" in says(capsys)
    assert "image" not in says(capsys)
    with pytest.raises(QueryError, match="has no vectors of the modality image"):
        search(ask("blue", modality="image"))


@pytest.mark.parametrize("covers", [("text",)], indirect=True)
def test_a_new_picture_is_nothing_to_a_model_of_texts(
    make_item: MakeItem, space: EmbeddingSpace
) -> None:
    make_item(item_id="both", colour="red", caption="blue thing")
    worker.drain()
    make_item(item_id="both", colour="green", caption="blue thing")
    assert not EmbeddingJob.objects.exists()


@pytest.mark.parametrize("covers", [("image",)], indirect=True)
def test_a_model_of_pictures_alone_is_asked_by_pictures(
    make_item: MakeItem, space: EmbeddingSpace
) -> None:
    make_item(item_id="both", colour="red", caption="blue thing")
    make_item(item_id="other", colour="green")
    worker.drain()
    warm_up(space)
    assert indexes() == [("image", "pictures", 2)]
    assert [hit.item.item_id for hit in search(ask(like="both", all=True)).hits] == ["other"]
    with pytest.raises(QueryError, match="cannot be asked by captions"):
        search(ask("blue"))


@pytest.mark.parametrize("covers", [("image", "text", "title")], indirect=True)
def test_a_further_modality_is_a_row_of_the_registry(
    make_item: MakeItem,
    space: EmbeddingSpace,
    covers: tuple[Modality, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    *_, title = covers
    make_item(item_id="all", colour="red", caption="blue thing", title="yellow")
    make_item(item_id="words", caption="quiet evening")
    encoders.ENCODED.clear()
    assert worker.drain() == worker.DrainReport(indexed=2)
    assert {Modality.IMAGE: 1, Modality.TEXT: 2, title: 1} == encoders.ENCODED

    assert indexes() == [("image", "pictures", 1), ("text", "captions", 2), ("title", "titles", 1)]
    assert "title: 1 vectors in the database" in says(capsys)
    found = search(ask("yellow", modality="title", all=True))
    assert [(hit.item.item_id, hit.matched) for hit in found.hits] == [("all", "title")]
    assert [hit.item.item_id for hit in search(ask("has:title blue", all=True)).hits] == ["all"]

    encoders.ENCODED.clear()
    edited = Item.objects.get(item_id="all")
    edited.title = ""
    edited.save()
    assert worker.drain() == worker.DrainReport(indexed=1)
    assert encoders.ENCODED == {}
    last = VectorChange.objects.latest("seq")
    assert (last.modality, last.vector_item) == ("title", edited.pk)
    active_index().sync()
    assert indexes()[-1] == ("title", "titles", 0)
