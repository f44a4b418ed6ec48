from __future__ import annotations

import json
import logging
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from catalog.models import Item
from embeddings import openings, per_space, switching
from embeddings.backends import encoder_of
from embeddings.checks import check_encoder
from embeddings.encoders.finding.model_files import STARTER_DIRECTORY
from embeddings.models import EmbeddingJob, EmbeddingSpace, LivingProcess, SpaceOpening
from embeddings.opening import open_space
from embeddings.presence import EXPIRY, Presence, Role, alive
from embeddings.spaces import require_active_space
from tests.spaces import build, take_over


@pytest.fixture
def other(indexed_items: dict[str, Item]) -> EmbeddingSpace:
    """A complete space beside the one that answers."""
    return build("other")


def process(number: int, *, warm: EmbeddingSpace | None = None, problem: str = "") -> None:
    """A serving process that is alive."""
    LivingProcess.objects.create(
        pk=str(number), host="here", pid=number, seen_at=timezone.now(), warm=warm, problem=problem
    )


def says() -> str:
    return str(switching.outlook())


def test_the_switch_waits_for_every_living_process_and_says_for_which(
    other: EmbeddingSpace,
) -> None:
    process(1, warm=other)
    process(2)
    process(3, problem="The disk is full.")
    switching.wish(other)

    assert switching.announced() == other
    assert switching.advance() is None
    assert says() == "waiting for process 2 on here; process 3 on here: The disk is full."
    LivingProcess.objects.update(warm=other)
    assert says() == "other fp32 (32 dimensions) takes over now"
    assert switching.advance() == other == require_active_space()
    assert (switching.outlook(), switching.announced(), switching.advance()) == (None, None, None)


def test_a_dead_process_is_not_waited_for(other: EmbeddingSpace) -> None:
    process(1)
    LivingProcess.objects.update(seen_at=timezone.now() - EXPIRY - timedelta(seconds=1))
    switching.wish(other)

    assert switching.advance() == other


@pytest.mark.usefixtures("indexed_items")
def test_an_incomplete_target_is_not_announced() -> None:
    target = open_space("other").space
    assert target is not None

    assert switching.announced() is None
    assert switching.advance() is None
    assert says() == "other fp32 (32 dimensions) takes over once it is complete"


def test_an_item_that_only_the_active_space_has_holds_up_the_switch(
    other: EmbeddingSpace, space: EmbeddingSpace, indexed_items: dict[str, Item]
) -> None:
    EmbeddingJob.objects.create(space=other, item=indexed_items["red"], run_after=timezone.now())
    switching.wish(other)
    assert says() == "waiting until 1 items are embedded in other fp32 (32 dimensions)"
    assert switching.advance() is None

    # Waiting in both, it cannot be found now either.
    EmbeddingJob.objects.create(space=space, item=indexed_items["red"], run_after=timezone.now())
    assert switching.advance() == other


def test_of_two_wishes_the_latest_holds(other: EmbeddingSpace) -> None:
    third = build("third")
    switching.wish(third)
    switching.wish(other)

    assert switching.advance() == other
    assert switching.advance() is None


def test_going_back_and_back_again(other: EmbeddingSpace, space: EmbeddingSpace) -> None:
    with pytest.raises(CommandError, match="No space that answered before is kept"):
        call_command("rollback_space")
    call_command("activate_space", str(other.pk))
    for expected in (space, other, space):
        call_command("rollback_space")
        assert require_active_space() == expected


class TestPresence:
    @pytest.mark.django_db
    def test_a_process_tells_what_it_is_warm_for_until_it_ends(self, other: EmbeddingSpace) -> None:
        presence = Presence(Role.SERVING)
        presence._write()
        presence.say(warm=other)
        (row,) = alive(Role.SERVING)
        assert (row.warm, row.problem) == (other, "")

        presence.say(problem="No memory.")
        (row,) = alive(Role.SERVING)
        assert (row.warm, row.problem) == (None, "No memory.")
        presence.end()
        presence._write()
        assert not LivingProcess.objects.exists()

    @pytest.mark.django_db
    def test_who_was_taken_for_dead_comes_back_and_old_rows_go(self) -> None:
        presence = Presence(Role.SERVING)
        presence._write()
        LivingProcess.objects.update(seen_at=timezone.now() - 5 * EXPIRY)
        process(9)
        LivingProcess.objects.filter(pid=9).update(seen_at=timezone.now() - 5 * EXPIRY)
        assert not alive(Role.SERVING).exists()

        presence._try_to_write()

        assert alive(Role.SERVING).count() == LivingProcess.objects.count() == 1


class TestCommands:
    @pytest.mark.usefixtures("indexed_items")
    def test_activate_refuses_what_is_incomplete_unless_told(self, space: EmbeddingSpace) -> None:
        target = open_space("other", takes_over=False).space
        assert target is not None
        with pytest.raises(CommandError) as caught:
            call_command("activate_space", str(target.pk))
        assert str(caught.value) == (
            f"Space {target.pk}, {target}, is incomplete: 4 items that can be found now could not"
            " be found any more. Wait until `manage.py spaces` calls it ready, mend what failed"
            " (`manage.py retry_failed`), or let it answer as it is with --partial."
        )
        assert require_active_space() == space

        call_command("activate_space", str(target.pk), "--partial")

        assert require_active_space() == target
        space.refresh_from_db()
        assert space.state == "ready"
        call_command("rollback_space")
        target.refresh_from_db()
        assert target.state == "building"

    @pytest.mark.usefixtures("space")
    def test_unknown_and_retired_spaces_are_named(self) -> None:
        with pytest.raises(CommandError, match=r"There is no space 99\. `manage.py spaces`"):
            call_command("activate_space", "99")
        with pytest.raises(CommandError, match=r"There is no space 99\."):
            call_command("retire_space", "99")

    def test_spaces_are_listed(
        self, other: EmbeddingSpace, space: EmbeddingSpace, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Item.objects.create(item_id="new", caption="new")
        EmbeddingSpace.objects.filter(pk=other.pk).update(
            rate=0.5, rate_at=timezone.now(), problem="other is gone."
        )
        openings.ask("third")
        switching.wish(other)
        call_command("spaces")
        lines = [line.split() for line in capsys.readouterr().out.splitlines()]

        assert lines == [
            ["id", "model", "dim", "precision", "state", "done", "of", "rate", "left", "MB"],
            f"{space.pk} colour 32 fp32 active 4 5 0.0".split(),
            f"{other.pk} other 32 fp32 ready 4 5 0.5/s 2 s 0.0".split(),
            f"Space {other.pk}: other is gone.".split(),
            ["Opening", "third:", "Waiting", "for", "the", "worker."],
            ["Switch:", "other", "fp32", "(32", "dimensions)", "takes", "over", "now."],
        ]
        call_command("spaces", "--json")
        told = json.loads(capsys.readouterr().out)
        assert [each["state"] for each in told["spaces"]] == ["active", "ready"]
        assert told["spaces"][1]["seconds_left"] == 2
        assert told["switch"]["target"] == other.pk
        assert told["openings"] == [
            {"model": "third", "note": "Waiting for the worker.", "error": ""}
        ]

    def test_open_space_waits_until_it_has_taken_over(
        self, other: EmbeddingSpace, capsys: pytest.CaptureFixture[str]
    ) -> None:
        call_command("open_space", "other", "--wait")

        assert capsys.readouterr().out.endswith(f"Space {other.pk} is active.\n")

    @pytest.mark.usefixtures("space")
    def test_open_space_says_what_is_wrong_with_a_model(self) -> None:
        with pytest.raises(CommandError, match="gone is gone"):
            call_command("open_space", "gone")


class TestStart:
    """What `MMSEARCH_MODEL` means at a start of a filled catalogue."""

    def asked(self) -> list[tuple[str, bool]]:
        return list(SpaceOpening.objects.values_list("model", "is_wish"))

    @pytest.mark.usefixtures("indexed_items")
    def test_another_model_than_last_time_is_a_wish(self) -> None:
        openings.ask_at_start("other", last_model="colour")

        assert self.asked() == [("other", True)]
        assert openings.open_asked() == 1
        assert self.asked() == []
        outlook = switching.outlook()
        assert outlook is not None
        assert outlook.target.model == "other"

    @pytest.mark.usefixtures("other")
    def test_after_a_rollback_by_hand_the_same_setting_changes_nothing(
        self, space: EmbeddingSpace
    ) -> None:
        take_over("other")
        switching.wish(space)
        assert switching.advance() == space
        openings.ask_at_start("other", last_model="other")

        assert self.asked() == [("colour", False)]
        assert openings.open_asked() == 1
        assert switching.outlook() is None
        assert require_active_space() == space

    @pytest.mark.usefixtures("other")
    def test_a_space_given_up_is_not_opened_by_a_start(self, space: EmbeddingSpace) -> None:
        take_over("other")
        call_command("retire_space", str(space.pk))
        openings.ask_at_start("colour", last_model="colour")
        openings.open_asked()

        assert [each.model for each in EmbeddingSpace.objects.exclude(state="retired")] == ["other"]

    @pytest.mark.usefixtures("indexed_items")
    def test_what_failed_says_why_and_is_tried_again_when_asked_again(self) -> None:
        openings.ask("gone")
        openings.ask("other")
        assert openings.open_asked() == 1
        opening = SpaceOpening.objects.get()
        assert (opening.model, opening.error) == ("gone", "gone is gone.")
        assert openings.open_asked() == 0

        openings.ask("gone")
        opening.refresh_from_db()
        assert opening.error == ""

    @pytest.mark.django_db
    def test_a_model_whose_files_are_gone_goes_on_with_its_prepared_copy(
        self, settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings.MMSEARCH_ENCODER = {
            "BACKEND": "embeddings.encoders.serving.prepared_encoder.PreparedEncoder",
            "OPTIONS": {"device": "cpu", "directory": tmp_path / "models"},
        }
        model = str(shutil.copytree(STARTER_DIRECTORY, tmp_path / "starter"))
        space = open_space(model).space
        assert space is not None
        encoder_of(space).describe()  # as whoever embeds does: the copy is kept
        Item.objects.create(item_id="a", caption="a quiet evening")
        per_space.reset()
        shutil.rmtree(model)
        caplog.clear()

        openings.ask_at_start(model, last_model=model)
        assert openings.open_asked() == 1

        assert self.asked() == []
        assert require_active_space() == space
        grave = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert [record.levelname for record in grave] == ["WARNING"]
        assert grave[0].getMessage() == (
            f"The files of {model} are gone. Space {space.pk}, {space}, goes on with the copy that"
            " was prepared of them."
        )


def test_a_model_that_is_not_there_is_an_error_unless_the_last_start_had_it(
    settings: Settings, tmp_path: Path
) -> None:
    settings.MMSEARCH_ENCODER = {
        "BACKEND": "embeddings.encoders.serving.prepared_encoder.PreparedEncoder",
        "OPTIONS": {"directory": tmp_path},
    }
    settings.MMSEARCH_MODEL = gone = str(tmp_path / "gone")
    settings.MMSEARCH_MODEL_CHOICE = tmp_path / "model"

    [error] = check_encoder()
    settings.MMSEARCH_MODEL_CHOICE.write_text(f"{gone}\n")
    [warning] = check_encoder()

    assert error.id == "embeddings.E010"
    assert error.msg.startswith(f"MMSEARCH_MODEL={gone}: There is no directory {gone}.")
    assert warning.id == "embeddings.W011"
    assert warning.msg.startswith(f"There is no directory {gone}.")
