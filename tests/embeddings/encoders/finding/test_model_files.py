from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from embeddings.encoders.base import EncoderError
from embeddings.encoders.finding.model_files import (
    STARTER_DIRECTORY,
    ModelFiles,
    local_files,
)
from embeddings.encoders.finding.usable import check_model


@pytest.fixture
def copy(tiny_clip: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_clip, tmp_path / "copy")


def test_starter_is_the_shipped_directory() -> None:
    files = local_files(" starter ")

    assert files is not None
    assert (files.name, files.directory) == ("starter", STARTER_DIRECTORY)


def test_the_starters_revision_is_what_existing_catalogues_hold() -> None:
    files = ModelFiles("starter", STARTER_DIRECTORY)

    assert files.revision == "0313fc691931395bbac9c8042038a5b6427c751b"


def test_a_directory_goes_by_its_own_name(copy: Path) -> None:
    files = local_files(f"{copy}/")

    assert files is not None
    assert (files.name, files.directory) == ("copy", copy)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("", r"^No model is named\. A model is `starter`, a hub name"),
        ("  ", r"^No model is named"),
        ("stater", r"^'stater' names no model\. A model is `starter`"),
        ("/no/such/place", r"^There is no directory /no/such/place\. A model is"),
        ("./nowhere", r"^There is no directory \./nowhere\."),
        ("~nobody-of-this-name/x", r"^There is no directory ~nobody-of-this-name/x\."),
        ("a/b/c", r"^'a/b/c' names no model"),
    ],
)
def test_a_name_that_names_nothing_is_refused_at_once(model: str, message: str) -> None:
    with pytest.raises(EncoderError, match=message):
        local_files(model)
    [error] = check_model(model, "cpu")
    assert error.id == "embeddings.E010"
    assert f"{error.msg} {error.hint or ''}".count("`starter`") == 1


def test_a_model_that_is_here_passes_the_check(copy: Path) -> None:
    assert check_model(str(copy), "auto") == []


def test_a_hub_name_that_is_not_here_yet_is_a_warning() -> None:
    [warning] = check_model("nobody/has-this-model", "auto")

    assert warning.id == "embeddings.W010"
    assert not warning.is_serious()


def test_an_unknown_device_fails_the_check(copy: Path) -> None:
    [error] = check_model(str(copy), "tpu")

    assert (error.id, error.msg) == ("embeddings.E011", "MMSEARCH_DEVICE='tpu' is unknown.")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", None, "is no model directory: it has no config.json"),
        ("config.json", "{", "is not JSON"),
        (
            "config.json",
            '{"model_type": "bert"}',
            "a model of type 'bert', which is none of",
        ),
        ("model.safetensors", None, "has no weights: put model.safetensors there"),
    ],
)
def test_a_broken_directory_is_named(
    copy: Path, name: str, content: str | None, message: str
) -> None:
    (copy / name).unlink()
    if content is not None:
        (copy / name).write_text(content, encoding="utf-8")

    with pytest.raises(EncoderError, match=message):
        local_files(str(copy))


def test_shards_are_found_through_their_index(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "model-00001-of-00002.safetensors")
    (copy / "model-00002-of-00002.safetensors").write_bytes(b"rest")
    index = {
        "weight_map": {
            "a": "model-00002-of-00002.safetensors",
            "b": "model-00001-of-00002.safetensors",
            "c": "model-00001-of-00002.safetensors",
        }
    }
    (copy / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    files = ModelFiles("copy", copy)

    assert [path.name for path in files.checkpoint.weights] == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    ]
    assert files.is_complete
    (copy / "model-00002-of-00002.safetensors").unlink()
    assert not ModelFiles("copy", copy).is_complete


def test_equal_files_have_equal_revisions(copy: Path, tiny_clip: Path) -> None:
    assert ModelFiles("a", copy).revision == ModelFiles("b", tiny_clip).revision


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_another_file_is_another_revision(copy: Path, tiny_clip: Path, name: str) -> None:
    with (copy / name).open("ab") as file:
        file.write(b" ")

    assert ModelFiles("copy", copy).revision != ModelFiles("copy", tiny_clip).revision


def test_a_file_changed_in_place_is_another_revision(copy: Path) -> None:
    path = copy / "model.safetensors"
    before = ModelFiles("copy", copy).revision
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))

    assert ModelFiles("copy", copy).revision != before


def test_the_revision_of_a_hub_snapshot_is_its_commit(copy: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--team--tiny" / "snapshots" / "0123abc"
    snapshot.parent.mkdir(parents=True)
    copy.rename(snapshot)

    assert ModelFiles("team/tiny", snapshot).revision == "0123abc"


def test_a_description_reads_no_weights(copy: Path, tiny_clip: Path) -> None:
    description = ModelFiles("copy", copy).describe("fp32")

    assert description == ModelFiles("copy", tiny_clip).describe("fp32")
    assert description != ModelFiles("copy", tiny_clip).describe("int8")
    assert (description.model, description.precision, description.dimension) == ("copy", "fp32", 24)


def test_defaults_and_old_style_overrides_of_a_configuration_hold(tmp_path: Path) -> None:
    config = {
        "model_type": "clip",
        "text_config": {"max_position_embeddings": 32},
        "text_config_dict": {"max_position_embeddings": 64},
        "vision_config_dict": None,
    }
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    checkpoint = ModelFiles("copy", tmp_path).checkpoint

    assert checkpoint.dimension == 512
    assert checkpoint.tokenization.max_length == 64
    assert checkpoint.preprocessing.feeds([Image.new("RGB", (9, 9))])["pixels"].shape == (
        *(1, 224, 224, 3),
    )
