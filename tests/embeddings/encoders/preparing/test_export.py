"""Preparing a model: which precision is kept, and what a crash or a second process leaves."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from embeddings.encoders.base import EncoderError, Modality
from embeddings.encoders.finding.model_files import ModelFiles
from embeddings.encoders.finding.prepared import Prepared, find_prepared
from embeddings.encoders.preparing.export import export_missing, export_model
from embeddings.encoders.preparing.parity import Samples
from embeddings.encoders.preparing.prepare import ensure_prepared
from embeddings.encoders.serving.prepared_encoder import PreparedEncoder
from tests.embeddings.encoders.conftest import samples
from tests.embeddings.encoders.tiny_clip import build_tiny_clip
from tests.embeddings.encoders.tiny_families import altclip

PROJECT = Path(__file__).resolve().parents[4]
pytestmark = pytest.mark.timeout(300)


def names(directory: Path) -> list[str]:
    """What is in a directory of prepared models, with the revision left out."""
    return sorted(
        "-".join(part for part in path.name.split("-") if len(part.split(".")[0]) != 12)
        for path in directory.iterdir()
    )


def never() -> Samples:
    raise AssertionError("the model was prepared again")


def test_the_fastest_that_is_close_is_taken(tiny_clip: Path, tmp_path: Path) -> None:
    said: list[str] = []

    done = export_model(str(tiny_clip), tmp_path, samples=samples, progress=said.append)

    for modality, tower in done.towers.items():
        tried = {trial.precision: trial for trial in tower.trials}
        accepted = [trial for trial in tower.trials if trial.accepted]
        best = min(accepted, key=lambda trial: trial.single_ms * trial.batched_ms)
        assert {"int8", "int8-dynamic", "fp32"} <= set(tried)
        assert (tower.precision, tower.batch) == (best.precision, best.batch)
        for trial in tower.trials:
            assert f"Preparing {tiny_clip.name}: {modality} in {trial}" in said
    assert said[-1] == f"Preparing {tiny_clip.name}: ready, {done.summary}"
    assert Prepared.read(done.directory) == done
    assert PreparedEncoder(str(tiny_clip), tmp_path).describe() == done.description
    assert sorted(path.name for path in done.directory.iterdir()) == [
        *("image.bin", "image.xml", "manifest.json", "text.bin", "text.xml", "tokenizer.json"),
    ]


def test_altclip_without_a_bias_makes_vectors_of_the_right_shape_in_int8(tmp_path: Path) -> None:
    directory = altclip(tmp_path / "model")
    weights = load_file(directory / "model.safetensors")
    weights["text_model.transformation.bias"].zero_()
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})

    done = export_model(str(directory), tmp_path, precision="int8", samples=samples)

    (trial,) = done.towers[Modality.TEXT].trials
    assert trial.parity.startswith("mean cosine 0.99")


def test_what_is_too_far_is_not_served(tmp_path: Path) -> None:
    directory = build_tiny_clip(tmp_path / "outlier", outlier=3000)

    done = export_model(str(directory), tmp_path / "models", samples=samples)

    tried = {trial.precision: trial for trial in done.towers[Modality.IMAGE].trials}
    assert not tried["int8"].accepted
    assert "too far" in str(tried["int8"])
    assert tried["fp32"].accepted
    assert not list((tmp_path / "models").glob(".preparing-*"))


def test_without_samples_nothing_is_proven(tiny_clip: Path, tmp_path: Path) -> None:
    done = export_model(str(tiny_clip), tmp_path, samples=dict)

    assert done.description.precision == "fp32"
    assert [trial.precision for trial in done.towers[Modality.TEXT].trials] == ["fp32"]


def test_the_operator_can_ask_for_fp32(tiny_clip: Path, tmp_path: Path) -> None:
    for precision in ("int8-dynamic", "fp32"):
        export_model(str(tiny_clip), tmp_path, precision=precision, samples=samples)
        assert PreparedEncoder(str(tiny_clip), tmp_path).describe().precision == precision
    assert not list(tmp_path.glob(".preparing-*"))


def test_what_is_prepared_is_not_prepared_again(tiny_clip: Path, models: Path) -> None:
    export_missing(str(tiny_clip), models, samples=never)


def test_a_changed_model_is_prepared_anew(tiny_clip: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_clip, tmp_path / "copy")
    export_missing(str(copy), tmp_path / "models", precision="fp32", samples=samples)
    before = find_prepared(tmp_path / "models", ModelFiles("copy", copy), "cpu")
    shutil.rmtree(copy)
    build_tiny_clip(copy, outlier=2)

    assert find_prepared(tmp_path / "models", ModelFiles("copy", copy), "cpu") is None
    export_missing(str(copy), tmp_path / "models", precision="fp32", samples=samples)
    after = find_prepared(tmp_path / "models", ModelFiles("copy", copy), "cpu")
    assert before is not None
    assert after is not None
    assert before.description.revision != after.description.revision


def test_an_equal_copy_is_recognised(tiny_clip: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_clip, tmp_path / "copy")
    export_missing(str(copy), tmp_path / "models", precision="fp32", samples=samples)
    towers = {path: path.stat().st_ino for path in (tmp_path / "models").rglob("*.xml")}
    for path in copy.iterdir():
        os.utime(path, ns=(1, 1))

    export_missing(str(copy), tmp_path / "models", precision="fp32", samples=samples)

    assert {path: path.stat().st_ino for path in (tmp_path / "models").rglob("*.xml")} == towers


def test_a_killed_preparation_leaves_nothing_half_done(tiny_clip: Path, tmp_path: Path) -> None:
    child = subprocess.Popen(
        [
            *(sys.executable, "-m", "embeddings.encoders.preparing.prepare"),
            *(str(tiny_clip), str(tmp_path), "cpu"),
        ],
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not list(tmp_path.glob(".preparing-*/*")):
        assert child.poll() is None
        time.sleep(0.001)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()

    assert find_prepared(tmp_path, ModelFiles(tiny_clip.name, tiny_clip), "cpu") is None
    export_missing(str(tiny_clip), tmp_path, precision="fp32", samples=samples)
    assert find_prepared(tmp_path, ModelFiles(tiny_clip.name, tiny_clip), "cpu") is not None
    assert not list(tmp_path.glob(".preparing-*"))


def test_two_processes_that_need_a_model_prepare_it_once(tiny_clip: Path, tmp_path: Path) -> None:
    said: list[str] = []

    def ensure(_number: int) -> Prepared:
        return ensure_prepared(str(tiny_clip), tmp_path, progress=said.append)

    with ThreadPoolExecutor(2) as pool:  # each thread starts a process
        first, second = pool.map(ensure, range(2))

    assert first == second
    assert first.directory.parent == tmp_path
    assert said[0] == f"Preparing {tiny_clip.name}: reading the weights"
    assert said.count(said[0]) == 1
    assert said[-1] == f"Preparing {tiny_clip.name}: ready, {first.summary}"


def test_a_failure_in_the_other_process_is_told(tiny_clip: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(tiny_clip, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"not weights")

    with pytest.raises(EncoderError, match=r"cannot be loaded .* copy the model again"):
        ensure_prepared(str(broken), tmp_path / "models", progress=lambda _message: None)
    assert names(tmp_path / "models") == [".lock"]


def test_a_place_that_cannot_be_written_is_named(tiny_clip: Path, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file", encoding="utf-8")

    with pytest.raises(EncoderError, match="make it writable, or set MMSEARCH_DATA_DIR"):
        export_missing(str(tiny_clip), tmp_path / "models", precision="fp32", samples=samples)
