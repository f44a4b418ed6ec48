from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings

from catalog.models import Item
from embeddings import jobs, per_space, states, switching, worker
from embeddings.backends import build_encoder, encoder_of
from embeddings.encoders import base
from embeddings.encoders.base import EncoderError, Modality
from embeddings.models import Embedding, EmbeddingJob, EmbeddingSpace, VectorChange
from embeddings.opening import note_complete, open_space
from embeddings.overview import progress_of
from embeddings.query_vectors import encode_query
from embeddings.retiring import free, half_freed, retire_space
from embeddings.spaces import SpaceError, find_space, live_spaces, require_active_space
from search.answer.answering import search
from search.answer.syntax import ask
from tests import encoders
from tests.encoders import POISON
from tests.spaces import build, take_over

State = EmbeddingSpace.State


@pytest.fixture
def gone() -> Iterator[set[str]]:
    """Models whose files are gone; add to it."""
    yield encoders.GONE
    encoders.GONE.discard("other")


def found(text: str = "red") -> set[str]:
    return {hit.item.item_id for hit in search(ask(text, top_n=100, all=True)).hits}


def states_of_spaces() -> dict[str, str]:
    return dict(EmbeddingSpace.objects.values_list("model", "state"))


def waiting(space: EmbeddingSpace) -> list[str]:
    jobs_of_space = EmbeddingJob.objects.filter(space=space)
    return sorted(jobs_of_space.values_list("item__item_id", flat=True))


class TestOpening:
    def test_the_first_is_active_and_opening_it_again_changes_nothing(
        self, space: EmbeddingSpace
    ) -> None:
        again = open_space()

        assert (again.space, again.enqueued, again.takes_over) == (space, 0, False)
        assert space.state == State.ACTIVE

    def test_another_model_is_built_beside_the_one_that_answers(
        self, indexed_items: dict[str, Item]
    ) -> None:
        opening = open_space("other")

        assert (opening.enqueued, opening.takes_over) == (len(indexed_items), True)
        assert states_of_spaces() == {"colour": "active", "other": "building"}
        assert found() == set(indexed_items)
        assert states.counts().indexed == len(indexed_items)
        assert opening.space is not None
        assert str(opening) == (
            f"Space {opening.space.pk}, other fp32 (32 dimensions), is kept beside the active one;"
            " 4 items wait to be embedded. It takes over once it is complete."
        )

    @pytest.mark.usefixtures("space")
    def test_in_a_catalogue_without_items_it_is_active_at_once(self) -> None:
        other = open_space("other").space

        assert other == require_active_space()
        assert other.complete_since is not None

    def test_it_takes_over_once_it_is_complete(self, indexed_items: dict[str, Item]) -> None:
        take_over("other")

        assert states_of_spaces() == {"colour": "ready", "other": "active"}
        assert found() == set(indexed_items)

    @pytest.mark.usefixtures("indexed_items")
    def test_where_the_switch_is_manual_it_waits_for_a_hand(self) -> None:
        with override_settings(MMSEARCH_SWITCH="manual"):
            other = open_space("other").space
        assert other is not None
        worker.drain()
        note_complete(other)

        assert switching.advance() is None
        assert states_of_spaces() == {"colour": "active", "other": "ready"}

    @pytest.mark.usefixtures("indexed_items")
    def test_of_several_the_newest_wins(self) -> None:
        open_space("other")
        third = take_over("third")

        assert require_active_space() == third
        other = EmbeddingSpace.objects.get(model="other")
        note_complete(other)
        assert switching.advance() is None

    @pytest.mark.usefixtures("indexed_items")
    def test_the_active_model_chosen_again_calls_the_switch_off(
        self, space: EmbeddingSpace
    ) -> None:
        build("other", takes_over=True)
        open_space("colour")

        assert switching.advance() is None
        assert require_active_space() == space

    @pytest.mark.usefixtures("indexed_items")
    def test_what_is_no_wish_opens_nothing_and_switches_nothing(self) -> None:
        assert open_space("other", is_wish=False).space is None
        build("other")
        assert open_space("other", is_wish=False).takes_over is False
        assert switching.outlook() is None

    @pytest.mark.usefixtures("indexed_items")
    def test_a_model_that_changed_takes_over_without_a_wish(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(encoders, "REVISION", "2")
        per_space.reset()

        opening = open_space("colour", is_wish=False)

        assert opening.space is not None
        assert (opening.space.revision, opening.takes_over) == ("2", True)

    def test_code_that_makes_other_vectors_takes_over_and_the_old_ones_are_found_meanwhile(
        self,
        space: EmbeddingSpace,
        indexed_items: dict[str, Item],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(base, "VECTORS", base.VECTORS + 1)
        per_space.reset()

        opening = open_space("colour", is_wish=False)

        assert found() == set(indexed_items)
        assert (opening.space == space, opening.takes_over) == (False, True)
        take_over("colour")
        assert require_active_space() == opening.space
        assert found() == set(indexed_items)

    def test_an_opening_that_died_before_its_jobs_were_written_is_made_up_for(
        self, indexed_items: dict[str, Item]
    ) -> None:
        other = open_space("other").space
        assert other is not None
        EmbeddingJob.objects.filter(space=other).delete()

        assert progress_of(other).done == 0
        assert note_complete(other) is False
        assert waiting(other) == sorted(indexed_items)


class TestFeeding:
    def test_what_changes_gets_a_job_in_every_live_space(
        self, space: EmbeddingSpace, indexed_items: dict[str, Item]
    ) -> None:
        other = take_over("other")
        words = indexed_items["words"]
        words.caption = "changed meanwhile"
        words.save()
        Item.objects.create(item_id="new", caption="added meanwhile")

        assert waiting(space) == waiting(other) == ["new", "words"]
        worker.drain()
        assert waiting(space) == waiting(other) == []

    @pytest.mark.django_db(transaction=True)
    def test_the_active_space_goes_first(
        self,
        make_item: Callable[..., Item],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(worker, "BATCH_SIZE", 2)
        for number in range(6):
            make_item(item_id=f"old-{number}", caption="old")
        worker.drain()
        other = open_space("other").space
        assert other is not None
        order: list[tuple[str, tuple[int, ...]]] = []
        encode = worker._encode

        def upload_during_the_first(batch: Any) -> Any:
            if not order:
                make_item(item_id="fresh", caption="fresh")
                connection.close()
            order.append((batch.claim.space.model, batch.claim.item_ids))
            return encode(batch)

        monkeypatch.setattr(worker, "_encode", upload_during_the_first)
        worker.drain()

        assert [model for model, _ in order] == ["other", "colour", "other", "other", "other"]
        assert order[1][1] == (Item.objects.get(item_id="fresh").pk,)

    def test_a_failure_in_one_space_hides_nothing_in_another(
        self,
        indexed_items: dict[str, Item],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(jobs, "MAX_ATTEMPTS", 1)
        monkeypatch.setitem(encoders.REFUSES, "other", "evening")

        other = build("other", takes_over=True)

        failed = EmbeddingJob.objects.get()
        assert (failed.space, failed.item) == (other, indexed_items["words"])
        assert states.counts().failed == 0
        assert other.state == State.BUILDING
        assert switching.advance() is None
        with pytest.raises(SpaceError) as caught:
            switching.refuse_incomplete(other)
        assert "1 items that can be found now could not be found any more." in str(caught.value)
        encoders.REFUSES.clear()
        assert jobs.retry_failed() == 1
        worker.drain()
        assert note_complete(other)
        assert switching.advance() == other

    def test_what_fails_everywhere_holds_up_no_switch(
        self, make_item: Callable[..., Item], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(jobs, "MAX_ATTEMPTS", 1)
        make_item(caption=POISON)
        make_item(caption="well")
        worker.drain()

        take_over("other")

        assert states.counts().failed == 1

    @pytest.mark.usefixtures("indexed_items")
    def test_a_model_that_is_gone_stops_nothing_else(self, gone: set[str]) -> None:
        other = open_space("other").space
        assert other is not None
        gone.add("other")
        per_space.reset()
        Item.objects.create(item_id="new", caption="new")

        worker.drain()

        assert "new" in found()
        assert len(waiting(other)) == 5
        other.refresh_from_db()
        assert other.problem == "other is gone."
        gone.discard("other")
        worker.drain()
        other.refresh_from_db()
        assert (other.problem, waiting(other)) == ("", [])


class TestEncoders:
    def test_one_serves_all_threads_of_a_space_until_settings_change(
        self, space: EmbeddingSpace
    ) -> None:
        first = encoder_of(space)
        assert encoder_of(space) is first
        with override_settings(MMSEARCH_DEVICE="cpu"):
            assert encoder_of(space) is not first

    @pytest.mark.usefixtures("indexed_items")
    def test_the_same_words_have_another_vector_in_another_space(
        self, space: EmbeddingSpace
    ) -> None:
        other = build("other")
        ours, theirs = (
            encode_query(each, Modality.TEXT, "evening").tolist() for each in (space, other)
        )

        assert ours != theirs

    def test_what_is_not_used_is_let_go(self, space: EmbeddingSpace) -> None:
        first = encoder_of(space)
        per_space.let_go(keep=[], unused=60)
        assert encoder_of(space) is first
        per_space.let_go(keep=[space.pk], unused=0)
        assert encoder_of(space) is first
        per_space.let_go(keep=[], unused=0)
        assert encoder_of(space) is not first

    def test_another_model_under_the_same_name_makes_no_vectors_of_the_space(
        self, space: EmbeddingSpace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(encoders, "REVISION", "2")
        per_space.reset()

        with pytest.raises(EncoderError) as caught:
            encoder_of(space)

        assert str(caught.value) == (
            f"The model of {space} is gone: colour holds another one by now. Put its files back, or"
            f" give the space up with `manage.py retire_space {space.pk}`."
        )


@pytest.mark.usefixtures("indexed_items")
class TestRetiring:
    def test_the_space_that_answers_is_not_retired(self, space: EmbeddingSpace) -> None:
        with pytest.raises(SpaceError):
            retire_space(space)
        with pytest.raises(CommandError, match="Let another one answer first"):
            call_command("retire_space", str(space.pk))

    def test_vectors_go_and_the_record_stays(
        self, space: EmbeddingSpace, capsys: pytest.CaptureFixture[str]
    ) -> None:
        take_over("other")

        call_command("retire_space", str(space.pk))

        assert f"Space {space.pk} is retired: 8 rows deleted." in capsys.readouterr().out
        space.refresh_from_db()
        assert space.state == State.RETIRED
        assert not Embedding.objects.filter(space=space).exists()
        assert not VectorChange.objects.filter(space=space).exists()
        with pytest.raises(SpaceError, match=r"is retired.*open_space colour"):
            find_space(space.pk)

    def test_it_is_fed_no_more_and_what_was_left_goes_later(self, space: EmbeddingSpace) -> None:
        take_over("other")
        retire_space(space)
        Item.objects.create(item_id="new", caption="new")
        worker.drain()

        assert not EmbeddingJob.objects.exists()
        assert half_freed() == [space]
        next(free(space))
        assert half_freed() == [space]
        sum(free(space))
        assert half_freed() == []

    @pytest.mark.django_db(transaction=True)
    def test_a_batch_in_work_writes_nothing_into_a_retired_space(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = open_space("other").space
        assert other is not None
        encode = worker._encode

        def retire_meanwhile(*args: Any) -> Any:
            retire_space(other)
            connection.close()
            return encode(*args)

        monkeypatch.setattr(worker, "_encode", retire_meanwhile)
        worker.drain()

        assert not Embedding.objects.filter(space=other).exists()

    def test_opened_again_it_is_another(
        self, space: EmbeddingSpace, indexed_items: dict[str, Item]
    ) -> None:
        take_over("other")
        retire_space(space)
        sum(free(space))

        again = open_space("colour").space

        assert again is not None
        assert (again.fingerprint, again.state) == (space.fingerprint, State.BUILDING)
        assert again.pk != space.pk
        assert again.generation != space.generation
        assert waiting(again) == sorted(indexed_items)


def test_live_spaces_stand_in_the_order_in_which_they_are_fed(
    indexed_items: dict[str, Item],
) -> None:
    open_space("newer", takes_over=False)
    open_space("newest", takes_over=False)
    take_over("other")

    assert [each.model for each in live_spaces()] == ["other", "colour", "newest", "newer"]


def test_no_class_of_encoders_is_a_clear_error() -> None:
    from django.core.exceptions import ImproperlyConfigured

    with (
        override_settings(MMSEARCH_ENCODER={"BACKEND": "no.such"}),
        pytest.raises(ImproperlyConfigured, match="MMSEARCH_ENCODER names no backend"),
    ):
        build_encoder("colour")
