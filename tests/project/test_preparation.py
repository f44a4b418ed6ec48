"""A first start where only what serving needs is installed, and what it says where more is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.databases import servers_of
from tests.embeddings.encoders.tiny_clip import build_tiny_clip
from tests.processes import settings_of

ROOT = Path(__file__).resolve().parents[2]

WITHOUT_PREPARING = """
import importlib.machinery, sys

ABSENT = {"torch", "transformers", "nncf", "scipy", "sklearn", "safetensors"}

class Installed(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        absent = name.partition(".")[0] in ABSENT
        return None if absent else super().find_spec(name, path, target)

finders = sys.meta_path
finders[finders.index(importlib.machinery.PathFinder)] = Installed
"""

ENCODE = """
import django, json, sys
django.setup()
from PIL import Image
from embeddings.backends import encoder_of
from embeddings.encoders.base import Modality
from embeddings.spaces import require_active_space

encoder = encoder_of(require_active_space())
[text] = encoder.encode(Modality.TEXT, ["a red apple"])
[image] = encoder.encode(Modality.IMAGE, [Image.new("RGB", (90, 60), "red")])
print(json.dumps({
    "model": encoder.describe().model,
    "shapes": [text.shape, image.shape],
    "lengths": [round(float(vector @ vector), 3) for vector in (text, image)],
}))
"""


def run(
    arguments: list[str], data_dir: Path, packages: Path, **more: str
) -> subprocess.CompletedProcess[str]:
    """Python with the application's own settings, and `packages` before everything else."""
    foreign = ("MMSEARCH_", "HF_")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    environ |= {
        "DJANGO_SETTINGS_MODULE": "mmsearch_project.settings",
        "MMSEARCH_DATA_DIR": str(data_dir),
        **servers_of(data_dir),
        "PYTHONPATH": str(packages),
        **more,
    }
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def serving_alone(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH that hides the libraries which only preparing needs."""
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(WITHOUT_PREPARING, encoding="utf-8")
    return folder


def test_a_first_start_needs_nothing_of_what_prepares_models(
    tmp_path: Path, serving_alone: Path
) -> None:
    data = tmp_path / "data"

    hidden = run(["-c", "import torch"], data, serving_alone)
    start = run(["-m", "mmsearch_project.preparation"], data, serving_alone)
    encoded = run(["-c", ENCODE], data, serving_alone)

    assert "No module named 'torch'" in hidden.stderr
    assert (start.returncode, start.stderr.count("Traceback")) == (0, 0), start.stderr
    assert "The starter model is in use." in start.stdout
    assert json.loads(encoded.stdout) == {
        "model": "starter",
        "shapes": [[256], [256]],
        "lengths": [1.0, 1.0],
    }
    (kept,) = (data / "models").iterdir()  # a copy of what ships: nothing was converted
    assert kept.name.startswith("starter-")


def test_another_model_without_the_libraries_is_one_line_with_the_mend(
    tmp_path: Path, serving_alone: Path
) -> None:
    model = str(build_tiny_clip(tmp_path / "tiny"))

    start = run(
        ["-m", "mmsearch_project.preparation"],
        tmp_path / "data",
        serving_alone,
        MMSEARCH_MODEL=model,
    )

    assert start.returncode == 1
    assert start.stderr.splitlines()[-1] == (
        "mmsearch: Preparing a model needs torch, transformers, nncf, which serving does without:"
        " run `make install-all`, then try again."
    )
    assert "Traceback" not in start.stderr
    assert not (tmp_path / "data" / "model").exists()  # the next start does not insist on it


def test_a_name_that_is_no_models_is_one_line_before_the_first_start(
    tmp_path: Path, serving_alone: Path
) -> None:
    for command in ("open_space", "prepare_model"):
        done = run(["manage.py", command, "stater"], tmp_path / "data", serving_alone)
        assert done.returncode == 1
        assert done.stderr.startswith("CommandError: 'stater' names no model. A model is `starter`")
        assert len(done.stderr.splitlines()) == 1


def test_an_idle_nvidia_gpu_is_said(tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "nvidia-smi").write_text("#!/bin/sh\n", encoding="utf-8")
    (programs / "nvidia-smi").chmod(0o755)
    prepared = {
        **settings_of(tmp_path / "data"),
        "PATH": f"{programs}:{os.environ['PATH']}",
    }

    said = {
        model: "The NVIDIA GPU of this machine is not used. To use it, install a CUDA build"
        in run(
            ["-m", "mmsearch_project.preparation"],
            tmp_path / "data",
            tmp_path,
            MMSEARCH_MODEL=model,
            **prepared,
        ).stdout
        for model in ("starter", "openai/clip-vit-base-patch32")
    }

    assert said == {"starter": False, "openai/clip-vit-base-patch32": True}
