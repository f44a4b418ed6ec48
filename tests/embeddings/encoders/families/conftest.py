"""One tiny model of each family, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.embeddings.encoders.tiny_families import BUILDERS, sentences


@pytest.fixture(scope="session")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The directory of each family's model."""
    folder = tmp_path_factory.mktemp("families")
    return {name: build(folder / name) for name, build in BUILDERS.items()}


@pytest.fixture(scope="session")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text model of sentence-transformers, of the dimension of the tiny CLIP of `families`."""
    return sentences(tmp_path_factory.mktemp("texts") / "sentences")
