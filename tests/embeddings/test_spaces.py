from __future__ import annotations

from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from catalog.models import Item
from embeddings import states, worker
from embeddings.backends import encoders
from embeddings.models import Embedding, EmbeddingJob, EmbeddingSpace
from embeddings.opening import open_space, retire_space
from embeddings.spaces import SpaceError, require_active_space
from search.answer.answering import search
from search.answer.query import SearchQuery


def model(name: str) -> Any:
    encoder = {"BACKEND": "tests.encoders.ColourEncoder", "OPTIONS": {"name": name}}
    return override_settings(MMSEARCH_ENCODERS={"default": encoder})


def test_opening_again_changes_nothing(space: EmbeddingSpace) -> None:
    opening = open_space()

    assert (opening.space, opening.previous, opening.enqueued) == (space, None, 0)


def test_another_model_opens_its_space_and_enqueues_everything(
    space: EmbeddingSpace, indexed_items: dict[str, Item]
) -> None:
    with model("other"):
        opening = open_space()

        assert opening.previous == space
        assert opening.enqueued == len(indexed_items)
        assert "The model changed from colour fp32 (32 dimensions) to other fp32" in str(opening)
        assert states.counts().pending == len(indexed_items)
        worker.drain()
        assert states.counts().indexed == len(indexed_items)
    assert EmbeddingSpace.objects.filter(state="active").count() == 1
    assert Embedding.objects.filter(space=space).count() == len(indexed_items)


def test_coming_back_enqueues_only_what_changed_meanwhile(
    space: EmbeddingSpace, indexed_items: dict[str, Item]
) -> None:
    with model("other"):
        open_space()
        worker.drain()
        words = indexed_items["words"]
        words.caption = "changed meanwhile"
        words.save()
        Item.objects.create(item_id="new", caption="added meanwhile")
        worker.drain()

    opening = open_space()

    assert opening.space == space
    waiting = EmbeddingJob.objects.filter(space=space).values_list("item__item_id", flat=True)
    assert sorted(waiting) == ["new", "words"]


def test_vectors_of_two_spaces_are_never_compared(indexed_items: dict[str, Item]) -> None:
    assert len(search(SearchQuery(text="red")).hits) == len(indexed_items)
    with model("other"):
        with pytest.raises(SpaceError):
            search(SearchQuery(text="red"))
        open_space()
        assert search(SearchQuery(text="red")).hits == ()


def test_require_active_space_names_both_models(space: EmbeddingSpace) -> None:
    with model("other"), pytest.raises(SpaceError) as caught:
        require_active_space()

    assert str(caught.value) == (
        f"The index holds vectors of {space}, but this process is configured for other fp32"
        " (32 dimensions). Restart with the same MMSEARCH_MODEL everywhere."
    )


def test_the_space_in_use_is_not_retired(space: EmbeddingSpace) -> None:
    with pytest.raises(SpaceError):
        retire_space(space)
    with pytest.raises(CommandError):
        call_command("retire_space", str(space.pk))


def test_retiring_deletes_vectors_and_keeps_the_record(
    space: EmbeddingSpace, indexed_items: dict[str, Item], capsys: pytest.CaptureFixture[str]
) -> None:
    with model("other"):
        open_space()
        call_command("retire_space", str(space.pk))

        assert f"Retired: {len(indexed_items)} vectors deleted." in capsys.readouterr().out
        space.refresh_from_db()
        assert space.state == EmbeddingSpace.State.RETIRED
        assert not Embedding.objects.filter(space=space).exists()


def test_a_retired_space_opened_again_is_another(
    space: EmbeddingSpace, indexed_items: dict[str, Item]
) -> None:
    with model("other"):
        open_space()
        retire_space(space)

    again = open_space().space

    assert (again.fingerprint, again.state) == (space.fingerprint, "active")
    assert again.pk != space.pk
    assert again.generation != space.generation
    assert states.counts().pending == len(indexed_items)
    assert EmbeddingSpace.objects.get(pk=space.pk).state == EmbeddingSpace.State.RETIRED


def test_one_encoder_serves_a_process_until_settings_change() -> None:
    first = encoders["default"]
    assert encoders["default"] is first
    with model("other"):
        assert encoders["default"] is not first
