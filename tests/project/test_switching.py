"""The model is switched and rolled back under load, and while processes die."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from benchmarks.servers import Ours
from embeddings.encoders.base import Modality, Vectors
from tests import switching
from tests.encoders import ColourEncoder
from tests.processes import settings_of

ITEMS = 300
MODELS = ("colour", "colourful")


def _encode(encoder: ColourEncoder, text: str) -> Vectors:
    (vector,) = encoder.encode(Modality.TEXT, [text])
    row: Vectors = vector
    return row


def _agreeing(told: str) -> int:
    """How many stores `check_index` found equal to the database."""
    return sum("vectors in the database" in line and "agree" in line for line in told.splitlines())


@pytest.mark.timeout(600)
def test_i9_switches_and_rollbacks_show_no_error_no_empty_and_no_mixed_answer(
    tmp_path: Path,
) -> None:
    model, other = MODELS
    encode = {name: partial(_encode, ColourEncoder(name)) for name in MODELS}
    data = tmp_path / "data"
    with Ours(data, model=model, WEB_CONCURRENCY="2", **settings_of(data)) as ours:
        report = switching.run(ours, items=ITEMS, model=model, other=other, encode=encode)

        assert (report.errors, report.empty, report.mixed) == ([], 0, [])
        assert report.answered_by == [model, *[other, model] * 3]
        assert report.searches > 100
        assert report.written > 10
        told = ours.manage("check_index")
        assert _agreeing(told) == 4
        assert "Database and index agree." in told


@pytest.mark.timeout(600)
def test_whoever_dies_at_a_step_one_space_answers_and_it_is_complete(tmp_path: Path) -> None:
    slow = {"WEB_CONCURRENCY": "2", "TESTS_DELAY": "0.2"}
    data = tmp_path / "data"
    with Ours(data, model="colour", **slow, **settings_of(data)) as ours:
        ours.start()
        switching.fill(ours, 200)
        for number in range(len(switching.VICTIMS)):
            # Each of them at each step, in the course of all switches.
            victims = [*switching.VICTIMS[number:], *switching.VICTIMS[:number]]
            model = "colour" + "s" * (number + 1)
            switching.die_at_every_step(ours, victims, model)

            found = switching.spaces(ours)
            told = f"{', '.join(victims)} were killed at {', '.join(switching.STEPS)}"
            assert [m for m, each in found.items() if each["state"] == "active"] == [model], told
            assert (found[model]["done"], found[model]["failed"]) == (200, 0), told
            assert ours.found(switching.QUERIES[0]), told
        told = ours.manage("check_index")
        assert _agreeing(told) == 2 * len(found)
        assert "Database and index agree." in told


@pytest.mark.timeout(600)
def test_a_start_with_another_model_never_makes_search_emptier(tmp_path: Path) -> None:
    model, other = MODELS
    data = tmp_path / "data"

    def start(chosen: str, **more: str) -> Ours:
        return Ours(data, model=chosen, **settings_of(data), **more)

    with start(model) as ours:
        ours.start()
        switching.fill(ours, 100)
        before = ours.found("a thing", top_n=100)
    assert len(before) == 100
    with start(other, TESTS_DELAY="4") as ours:
        ours.start()
        assert ours.found("a thing", top_n=100) == before
        assert switching.answers(ours) == model
        ours.wait(lambda: switching.answers(ours) == other, f"{other} to take over", poll=0.5)
        assert len(ours.found("a thing", top_n=100)) == 100
        ours.manage("rollback_space")
    with start(other) as ours:  # as configured before: the hand that rolled back decides
        ours.start()
        opened = "SELECT count(*) FROM embeddings_spaceopening"
        ours.wait(lambda: ours.rows(opened)[0][0] == 0, "the worker to look at the model")
        assert switching.answers(ours) == model
        assert ours.found("a thing", top_n=100) == before
    with start(model) as ours:
        ours.start()
        assert switching.answers(ours) == model
