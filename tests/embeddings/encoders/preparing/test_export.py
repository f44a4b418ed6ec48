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

from embeddings.encoders.base import EncoderError
from embeddings.encoders.finding.model_files import ModelFiles
from embeddings.encoders.finding.prepared import Prepared, find_prepared
from embeddings.encoders.preparing.export import export_missing, export_model
from embeddings.encoders.preparing.parity import Samples
from embeddings.encoders.preparing.prepare import ensure_prepared
from embeddings.encoders.serving.onnx_encoder import OnnxEncoder
from tests.embeddings.encoders.conftest import samples
from tests.embeddings.encoders.tiny_clip import build_tiny_clip

PROJECT = Path(__file__).resolve().parents[4]


def names(directory: Path) -> list[str]:
    """What is in a directory of prepared models, with the revision left out."""
    return sorted(
        "-".join(part for part in path.name.split("-") if len(part.split(".")[0]) != 12)
        for path in directory.iterdir()
    )


def never() -> Samples:
    raise AssertionError("the model was prepared again")


def test_int8_is_kept_where_it_is_close(tiny_clip: Path, tmp_path: Path) -> None:
    said: list[str] = []

    done = export_model(str(tiny_clip), tmp_path, samples=samples, progress=said.append)

    assert done.prepared.description.precision == "int8"
    assert done.reason.startswith("int8 is close to torch: mean cosine 0.99")
    assert said[-1] == f"{tiny_clip.name} is ready in int8: {done.reason}"
    assert OnnxEncoder(str(tiny_clip), tmp_path).describe() == done.prepared.description


def test_fp32_is_kept_where_int8_is_too_far(tmp_path: Path) -> None:
    directory = build_tiny_clip(tmp_path / "outlier", outlier=3000)

    done = export_model(str(directory), tmp_path / "models", samples=samples)

    assert done.prepared.description.precision == "fp32"
    assert done.reason.startswith("int8 is too far from torch: mean cosine ")
    assert OnnxEncoder(str(directory), tmp_path / "models").describe().precision == "fp32"
    assert not list((tmp_path / "models").glob("*int8*"))
    assert not list((tmp_path / "models").glob(".preparing-*"))


def test_without_samples_int8_proves_nothing(tiny_clip: Path, tmp_path: Path) -> None:
    done = export_model(str(tiny_clip), tmp_path, samples=lambda: Samples([], []))

    assert done.prepared.description.precision == "fp32"
    assert done.reason == "int8 is too far from torch: no samples to compare"


def test_the_operator_can_ask_for_fp32_and_go_back(tiny_clip: Path, tmp_path: Path) -> None:
    for precision, expected in (("auto", "int8"), ("fp32", "fp32"), ("auto", "int8")):
        export_model(str(tiny_clip), tmp_path, precision=precision, samples=samples)
        assert OnnxEncoder(str(tiny_clip), tmp_path).describe().precision == expected


def test_insisting_on_a_precision_leaves_the_choice_alone(tiny_clip: Path, tmp_path: Path) -> None:
    export_model(str(tiny_clip), tmp_path, samples=samples)
    export_missing(str(tiny_clip), tmp_path, precision="fp32", samples=samples)

    assert OnnxEncoder(str(tiny_clip), tmp_path).describe().precision == "int8"
    assert OnnxEncoder(str(tiny_clip), tmp_path, precision="fp32").describe().precision == "fp32"


def test_what_is_prepared_is_not_prepared_again(tiny_clip: Path, models: Path) -> None:
    export_missing(str(tiny_clip), models, precision="fp32", samples=never)
    export_missing(str(tiny_clip), models, precision="int8", samples=never)


def test_a_changed_model_is_prepared_anew(tiny_clip: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_clip, tmp_path / "copy")
    export_missing(str(copy), tmp_path / "models", precision="fp32", samples=samples)
    before = find_prepared(tmp_path / "models", ModelFiles("copy", copy), "fp32")
    shutil.rmtree(copy)
    build_tiny_clip(copy, outlier=2)

    assert find_prepared(tmp_path / "models", ModelFiles("copy", copy), "fp32") is None
    export_missing(str(copy), tmp_path / "models", precision="fp32", samples=samples)
    after = find_prepared(tmp_path / "models", ModelFiles("copy", copy), "fp32")
    assert before is not None
    assert after is not None
    assert before.description.revision != after.description.revision


def test_an_equal_copy_is_recognised(tiny_clip: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_clip, tmp_path / "copy")
    export_missing(str(copy), tmp_path / "models", precision="fp32", samples=samples)
    towers = {path: path.stat().st_ino for path in (tmp_path / "models").rglob("*.onnx")}
    for path in copy.iterdir():
        os.utime(path, ns=(1, 1))

    export_missing(str(copy), tmp_path / "models", precision="fp32", samples=samples)

    assert {path: path.stat().st_ino for path in (tmp_path / "models").rglob("*.onnx")} == towers


def test_a_killed_preparation_leaves_nothing_half_done(tiny_clip: Path, tmp_path: Path) -> None:
    child = subprocess.Popen(
        [
            *(sys.executable, "-m", "embeddings.encoders.preparing.prepare"),
            *(str(tiny_clip), str(tmp_path), "fp32"),
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

    assert find_prepared(tmp_path, ModelFiles(tiny_clip.name, tiny_clip), "fp32") is None
    export_missing(str(tiny_clip), tmp_path, precision="fp32", samples=samples)
    assert find_prepared(tmp_path, ModelFiles(tiny_clip.name, tiny_clip), "fp32") is not None
    assert not list(tmp_path.glob(".preparing-*"))


def test_two_processes_that_need_a_model_prepare_it_once(tiny_clip: Path, tmp_path: Path) -> None:
    said: list[str] = []

    def ensure(_number: int) -> Prepared:
        return ensure_prepared(str(tiny_clip), tmp_path, precision="fp32", progress=said.append)

    with ThreadPoolExecutor(2) as pool:  # each thread starts a process
        first, second = pool.map(ensure, range(2))

    assert first == second
    assert first.directory.parent == tmp_path
    name = tiny_clip.name
    assert said == [
        f"Preparing {name}: reading the weights",
        f"Preparing {name}: writing fp32 towers",
        f"Preparing {name}: comparing fp32 with torch",
        (
            f"Preparing {name}: fp32: mean cosine 1.0000 (lowest 1.0000), top-10 overlap 1.000,"
            " over 400 samples"
        ),
        f"{name} is ready in fp32: fp32 was asked for",
    ]


def test_a_failure_in_the_other_process_is_told(tmp_path: Path) -> None:
    directory = build_tiny_clip(tmp_path / "silu", activation="silu")

    with pytest.raises(EncoderError, match=r"^The model's activation 'silu' has no ONNX form here"):
        ensure_prepared(str(directory), tmp_path / "models", progress=lambda _message: None)
    assert names(tmp_path / "models") == [".lock"]


def test_a_place_that_cannot_be_written_is_named(tiny_clip: Path, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file", encoding="utf-8")

    with pytest.raises(EncoderError, match="make it writable, or set MMSEARCH_DATA_DIR"):
        export_missing(str(tiny_clip), tmp_path / "models", precision="fp32", samples=samples)
