"""The command, and what of the catalogue a model is tried on."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from catalog.models import Item
from embeddings import samples as samples_module
from embeddings.encoders.base import Modality
from embeddings.encoders.finding.model_files import STARTER_DIRECTORY
from embeddings.encoders.preparing import prepare
from embeddings.encoders.preparing.parity import demo_samples
from embeddings.samples import catalogue_samples


@pytest.mark.django_db
def test_the_command_says_which_precision_and_why(tiny_clip: Path) -> None:
    out = io.StringIO()

    call_command("prepare_model", str(tiny_clip), "--precision", "fp32", stdout=out)

    lines = out.getvalue().splitlines()
    assert f"Preparing {tiny_clip.name}: ready, text in fp32, image in fp32" in lines
    assert lines[-1].startswith("Prepared in ")


@pytest.mark.django_db
def test_the_command_refuses_a_misspelt_name() -> None:
    with pytest.raises(CommandError, match=r"^'stater' names no model"):
        call_command("prepare_model", "stater")


def test_a_model_that_is_opened_is_tried_on_the_catalogue_too(
    make_item: Callable[..., Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples_module, "SAMPLES", 2)
    make_item(colour="red", caption="mine")

    assert prepare.samples()[Modality.TEXT] == ["mine"]
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE")
    assert prepare.samples()[Modality.TEXT] == demo_samples()[Modality.TEXT]


@pytest.mark.django_db
def test_without_libraries_the_command_says_first_what_the_name_means(
    tmp_path: Path, tiny_clip: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MMSEARCH_MODEL_DIR = tmp_path / "models"  # where no other test prepared it
    monkeypatch.setattr(prepare, "LIBRARIES", ("a_library_that_nobody_has",))
    (tmp_path / "empty").mkdir()
    out = io.StringIO()

    call_command("prepare_model", "starter", stdout=out)
    said = []
    for model in (tmp_path / "empty", tmp_path / "nowhere", tiny_clip):
        with pytest.raises(CommandError) as refused:
            call_command("prepare_model", str(model))
        said.append(str(refused.value))

    assert out.getvalue() == (
        f"starter is prepared already, in {STARTER_DIRECTORY / 'prepared'}. To prepare it anew for"
        " this machine, run `make install-all` first.\n"
    )
    empty, nowhere, unprepared = said
    assert empty == f"{tmp_path / 'empty'} is no model directory: it has no config.json."
    assert nowhere.startswith(f"There is no directory {tmp_path / 'nowhere'}. A model is `starter`")
    assert unprepared == (
        "Preparing a model needs a_library_that_nobody_has, which serving does without: run"
        " `make install-all`, then try again."
    )


def test_a_small_catalogue_leaves_the_demo_to_try_on(make_item: Callable[..., Item]) -> None:
    make_item(caption="one")

    assert catalogue_samples()[Modality.TEXT] == demo_samples()[Modality.TEXT]


def test_a_catalogue_is_sampled_at_even_distances(
    make_item: Callable[..., Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples_module, "SAMPLES", 2)
    gone = make_item(colour="blue", caption="picture gone")
    Path(gone.image.path).unlink()
    for number in range(4):
        make_item(colour="red", caption=f"picture {number}")

    found = catalogue_samples()

    assert found[Modality.TEXT] == ["picture gone", "picture 1"]
    assert [image.getpixel((0, 0)) for image in found[Modality.IMAGE]] == [(255, 0, 0)]
