from __future__ import annotations

import dataclasses
import fcntl
import shutil
from pathlib import Path

import pytest

from embeddings.encoders.finding.outdated import delete_prepared, sweep_prepared
from embeddings.encoders.finding.prepared import Prepared, find_revision


@pytest.fixture
def folder(models: Path, tmp_path: Path) -> Path:
    """Three revisions of one model and one of another, oldest first."""
    original = next(p for path in models.iterdir() if path.is_dir() and (p := Prepared.read(path)))
    for name, revision in (("clip", "a"), ("clip", "b"), ("other", "a"), ("clip", "c")):
        directory = tmp_path / f"{name}-{revision}-cpu"
        shutil.copytree(original.directory, directory)
        description = dataclasses.replace(original.description, model=name, revision=revision)
        dataclasses.replace(original, directory=directory, description=description).write()
        (tmp_path / f"{name}-{revision}.json").write_text("{}")
    (tmp_path / ".preparing-xyz").mkdir()
    (tmp_path / "old-a-int8").mkdir()
    (tmp_path / "old-a-int8" / "manifest.json").write_text('{"format": 1}')
    return tmp_path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_dir()}


def test_sweep_keeps_the_newest_and_what_is_in_use(folder: Path) -> None:
    before = names(folder)
    assert sweep_prepared(folder, in_use={("clip", "a")}) == 0
    assert names(folder) == before
    assert sweep_prepared(folder, in_use={("clip", "a")}, grace=0) == 3
    assert names(folder) == {"clip-a-cpu", "other-a-cpu", "clip-c-cpu"}
    assert sweep_prepared(folder, in_use=set(), grace=0) == 1
    assert names(folder) == {"other-a-cpu", "clip-c-cpu"}
    assert {path.stem for path in folder.glob("*.json")} == {"other-a", "clip-c"}


def test_sweep_waits_while_a_model_is_prepared(folder: Path, tmp_path: Path) -> None:
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert sweep_prepared(folder, in_use=set(), grace=0) == 0
    assert sweep_prepared(tmp_path / "nowhere", in_use=set(), grace=0) == 0


def test_a_revision_given_up_goes_and_no_other(folder: Path) -> None:
    delete_prepared(folder, "clip", "b")

    assert names(folder) >= {"clip-a-cpu", "clip-c-cpu", "other-a-cpu"}
    assert "clip-b-cpu" not in names(folder)


def test_a_revision_is_found_without_the_files_that_it_was_made_of(folder: Path) -> None:
    found = find_revision(folder, "c", "cpu")

    assert found is not None
    assert found.directory == folder / "clip-c-cpu"
    assert find_revision(folder, "c", "cuda") is None
    assert find_revision(folder, "", "cpu") is None
