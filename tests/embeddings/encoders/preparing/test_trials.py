from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embeddings.encoders.base import EncoderError, Modality, Vectors
from embeddings.encoders.finding.model_files import ModelFiles
from embeddings.encoders.preparing.parity import Parity
from embeddings.encoders.preparing.trials import Candidate, choose
from embeddings.encoders.serving.inputs import Feeds, Inputs
from embeddings.encoders.serving.tokenization import Tokenizer

CLOSE, FAR = Parity(1.0, 1.0, 1.0, 9), Parity(0.9, 0.9, 0.9, 9)
SAMPLES = [Image.new("RGB", (8, 8))]


@pytest.fixture
def inputs(tiny_clip: Path) -> Inputs:
    checkpoint = ModelFiles(tiny_clip.name, tiny_clip).checkpoint
    tokenizer = Tokenizer(checkpoint.serialised_tokenizer(), checkpoint.tokenization)
    return Inputs(lambda: tokenizer, checkpoint.preprocessing)


def run(feeds: Feeds) -> Vectors:
    return np.zeros((len(feeds["pixels"]), 2), np.float32)


def test_a_batch_that_memory_does_not_hold_is_not_chosen(inputs: Inputs) -> None:
    tried = []

    def bounded(feeds: Feeds) -> Vectors:
        tried.append(len(feeds["pixels"]))
        if tried[-1] > 8:
            raise RuntimeError("CUDA out of memory.")
        return run(feeds)

    tower = choose(
        [Candidate("fp16", bounded, CLOSE, insisted=False)],
        Modality.IMAGE,
        inputs,
        SAMPLES,
        (1, 8, 32, 128),
    )

    assert tower.precision == "fp16"
    assert tower.batch in (1, 8)
    assert set(tried) == {1, 8, 32}


def test_what_is_far_is_taken_only_where_somebody_insists(inputs: Inputs) -> None:
    def trial(precision: str, parity: Parity, *, insisted: bool) -> Candidate:
        return Candidate(precision, run, parity, insisted)

    both = [trial("int8", FAR, insisted=False), trial("fp32", CLOSE, insisted=False)]
    assert choose(both, Modality.IMAGE, inputs, SAMPLES, (1,)).precision == "fp32"
    alone = [trial("int8", FAR, insisted=True)]
    assert choose(alone, Modality.IMAGE, inputs, SAMPLES, (1,)).precision == "int8"
    with pytest.raises(EncoderError, match="cannot be made here"):
        choose([], Modality.IMAGE, inputs, SAMPLES, (1,))
