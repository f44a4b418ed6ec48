"""One tiny CLIP for all tests of the encoders, prepared once; samples that take no disk."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embeddings.encoders.base import Modality
from embeddings.encoders.preparing.export import export_missing
from embeddings.encoders.preparing.parity import Samples
from embeddings.encoders.preparing.transformers_encoder import TransformersEncoder
from embeddings.encoders.serving.prepared_encoder import PreparedEncoder
from tests.embeddings.encoders.tiny_clip import build_tiny_clip

TEXTS = [
    "",
    "a",
    "the red fox",
    "the red fox and the blue fox and the green fox",
    "a snowy mountain at night",
    "  spaces  \t and \n lines  ",
    "Ünïcödé, 中文, עברית, 🦊🦊",
    "null\x00byte",
    "<|endoftext|> in the middle",
    "long " * 200,
]


def pictures(count: int, seed: int = 0) -> list[Image.Image]:
    """Smooth colourful pictures of odd sizes."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (5, 6, 3)).astype(np.uint8))
        width, height = (int(side) for side in random.integers(20, 90, 2))
        made.append(coarse.resize((width, height), Image.Resampling.BICUBIC))
    return made


@functools.cache
def samples() -> Samples:
    """Sixty texts and as many pictures."""
    colours, things = ("red", "blue", "green"), ("fox", "boat", "apple", "tree")
    places = ("at night", "in snow", "on a table", "by the sea", "far away")
    texts = [f"a {c} {t} {p}" for c in colours for t in things for p in places]
    return {Modality.TEXT: texts, Modality.IMAGE: pictures(len(texts))}


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory."""
    return build_tiny_clip(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def models(tiny_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory where the tiny CLIP is prepared in fp32."""
    return prepared(tiny_clip, tmp_path_factory.mktemp("models"), "fp32")


@pytest.fixture(scope="session")
def dynamic_models(tiny_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory where it is prepared in int8."""
    return prepared(tiny_clip, tmp_path_factory.mktemp("models"), "int8-dynamic")


def prepared(model: Path, directory: Path, precision: str) -> Path:
    export_missing(str(model), directory, precision=precision, samples=samples)
    return directory


@pytest.fixture(scope="session")
def reference(tiny_clip: Path) -> TransformersEncoder:
    return TransformersEncoder(str(tiny_clip), device="cpu")


@pytest.fixture
def fp32(tiny_clip: Path, models: Path) -> PreparedEncoder:
    return PreparedEncoder(str(tiny_clip), models)


@pytest.fixture
def int8(tiny_clip: Path, dynamic_models: Path) -> PreparedEncoder:
    return PreparedEncoder(str(tiny_clip), dynamic_models)
