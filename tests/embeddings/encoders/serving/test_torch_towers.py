"""What runs on CUDA, run on a processor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from embeddings.encoders.base import EncoderError, Modality
from embeddings.encoders.finding.model_files import ModelFiles
from embeddings.encoders.finding.prepared import find_prepared
from embeddings.encoders.preparing.transformers_encoder import TransformersEncoder
from embeddings.encoders.serving.inputs import Feeds
from embeddings.encoders.serving.torch_towers import TorchNetwork, TorchTowers
from tests.embeddings.encoders.conftest import TEXTS, pictures


@pytest.fixture
def towers(tiny_clip: Path, models: Path) -> TorchTowers:
    files = ModelFiles(tiny_clip.name, tiny_clip)
    prepared = find_prepared(models, files, "cpu")
    assert prepared is not None
    return TorchTowers(prepared, files.checkpoint, "cpu")


def test_vectors_equal_the_reference(towers: TorchTowers, reference: TransformersEncoder) -> None:
    inputs: dict[Modality, Sequence[object]] = {
        Modality.TEXT: TEXTS * 5,
        Modality.IMAGE: pictures(40),
    }
    for modality, chosen in inputs.items():
        np.testing.assert_allclose(
            towers.encode(modality, chosen), reference.encode(modality, chosen), rtol=0, atol=2e-6
        )
        assert towers.encode(modality, []).shape == (0, reference.dimension)


def short_of_memory(monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
    """Let a run fail as CUDA does where it has more than `most` inputs; returns what was tried."""
    tried: list[int] = []
    run = TorchNetwork.__call__

    def bounded(network: TorchNetwork, feeds: Feeds) -> np.ndarray:
        tried.append(len(next(iter(feeds.values()))))
        if tried[-1] > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return run(network, feeds)

    monkeypatch.setattr(TorchNetwork, "__call__", bounded)
    return tried


def test_batches_are_halved_where_memory_runs_out(
    towers: TorchTowers, reference: TransformersEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = pictures(9)
    expected = reference.encode(Modality.IMAGE, images)
    towers._batches[Modality.IMAGE] = 8
    tried = short_of_memory(monkeypatch, 3)

    np.testing.assert_allclose(towers.encode(Modality.IMAGE, images), expected, atol=2e-6)
    assert tried == [8, 4, 2, 2, 2, 2, 1]


def test_one_input_too_many_is_said(towers: TorchTowers, monkeypatch: pytest.MonkeyPatch) -> None:
    short_of_memory(monkeypatch, 0)

    with pytest.raises(EncoderError, match="too little memory left for one input"):
        towers.encode(Modality.TEXT, ["a"])
