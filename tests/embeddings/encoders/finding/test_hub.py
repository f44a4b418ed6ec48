"""Models by name, from a hub that is here, is gone, or never answers."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from embeddings.encoders.finding.hub import needed
from tests.embeddings.encoders.fake_hub import COMMIT, NAME, fake_hub
from tests.embeddings.encoders.tiny_families import BUILDERS, sentences

PROJECT = Path(__file__).resolve().parents[4]

RESOLVE = """
import sys
from embeddings.encoders.base import EncoderError
from embeddings.encoders.finding.model_files import resolve_model
try:
    files = resolve_model(sys.argv[1])
    print(files.revision, *sorted(path.name for path in files.directory.iterdir()))
except EncoderError as error:
    print(error)
"""


def resolve(model: str, endpoint: str, cache: Path) -> str:
    """What a process of its own makes of a model's name: the hub's address is read at import."""
    done = subprocess.run(
        [sys.executable, "-c", RESOLVE, model],
        cwd=PROJECT,
        env=os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_a_model_is_downloaded_once_and_only_what_is_needed(
    tiny_clip: Path, tmp_path: Path
) -> None:
    directory = shutil.copytree(tiny_clip, tmp_path / "hub")
    for name in ("pytorch_model.bin", "tf_model.h5", "README.md"):
        (directory / name).write_bytes(b"not needed")
    with fake_hub(directory) as (endpoint, asked):
        first = resolve(NAME, endpoint, tmp_path / "cache")
    again = resolve(NAME, endpoint, tmp_path / "cache")

    assert sorted(asked) == sorted(path.name for path in tiny_clip.iterdir())
    assert first == " ".join([COMMIT, *sorted(path.name for path in tiny_clip.iterdir())])
    assert again == first


def test_a_model_without_safetensors_comes_with_its_pickled_weights(
    tiny_clip: Path, tmp_path: Path
) -> None:
    directory = shutil.copytree(tiny_clip, tmp_path / "hub")
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")
    with fake_hub(directory) as (endpoint, asked):
        first = resolve(NAME, endpoint, tmp_path / "cache")
    again = resolve(NAME, endpoint, tmp_path / "cache")

    assert "pytorch_model.bin" in asked
    assert again == first == " ".join([COMMIT, *sorted(path.name for path in directory.iterdir())])


def test_an_interrupted_download_is_finished(tiny_clip: Path, tmp_path: Path) -> None:
    with fake_hub(tiny_clip) as (endpoint, asked):
        resolve(NAME, endpoint, tmp_path / "cache")
        [weights] = (tmp_path / "cache").rglob("snapshots/*/model.safetensors")
        weights.resolve().unlink()
        weights.unlink()
        asked.clear()
        resolve(NAME, endpoint, tmp_path / "cache")

    assert asked == ["model.safetensors"]
    assert weights.is_file()


def test_a_name_that_the_hub_does_not_know_is_told(tiny_clip: Path, tmp_path: Path) -> None:
    with fake_hub(tiny_clip) as (endpoint, _asked):
        said = resolve("team/tinny", endpoint, tmp_path / "cache")

    assert said == ("The hub has no model 'team/tinny': check the name, or take `starter`.")


def test_a_hub_that_cannot_be_reached_is_told(tmp_path: Path) -> None:
    with socket.socket() as closed:  # bound, but nobody listens
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        said = resolve(NAME, endpoint, tmp_path / "cache")

    assert said == (
        "The model 'team/tiny' is not on this machine and the model hub cannot be reached "
        "(ConnectError): check the name and the network, or take `starter`."
    )


def test_a_hub_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        said = resolve(NAME, endpoint, tmp_path / "cache")

    assert "the model hub cannot be reached (ReadTimeout)" in said


@pytest.mark.parametrize("family", BUILDERS)
def test_a_model_of_each_family_is_downloaded_once(family: str, tmp_path: Path) -> None:
    directory = BUILDERS[family](tmp_path / "hub")
    names = sorted(path.name for path in directory.iterdir())
    (directory / "README.md").write_bytes(b"not needed")
    with fake_hub(directory) as (endpoint, asked):
        first = resolve(NAME, endpoint, tmp_path / "cache")
    again = resolve(NAME, endpoint, tmp_path / "cache")

    assert sorted(asked) == names
    assert again == first == " ".join([COMMIT, *names])


def test_a_text_model_is_downloaded_with_the_directories_of_its_parts(
    tiny_clip: Path, tmp_path: Path
) -> None:
    directory = sentences(tmp_path / "hub")
    (directory / "onnx").mkdir()
    (directory / "onnx" / "model.safetensors").write_bytes(b"not needed")
    with fake_hub(directory) as (endpoint, asked):
        first = resolve(f"{NAME}+{tiny_clip}", endpoint, tmp_path / "cache")
    again = resolve(f"{NAME}+{tiny_clip}", endpoint, tmp_path / "cache")

    assert len(first.split()[0]) == 40
    assert first == again
    assert {"1_Pooling/config.json", "2_Dense/pytorch_model.bin", "modules.json"} < set(asked)
    assert "onnx/model.safetensors" not in asked


def test_each_directory_gives_its_safe_weights_or_else_the_others() -> None:
    files = [
        *(
            "model.safetensors",
            "pytorch_model.bin",
            "config.json",
            "README.md",
            "flax_model.msgpack",
        ),
        *("2_Dense/pytorch_model.bin", "2_Dense/config.json", "onnx/model.onnx"),
    ]

    assert needed(files) == [
        *("model.safetensors", "config.json", "2_Dense/pytorch_model.bin", "2_Dense/config.json")
    ]
