"""Against transformers' own tokenizer, processor and model, called as its manual says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from embeddings.encoders.base import EncoderError, Modality
from embeddings.encoders.preparing.transformers_encoder import TransformersEncoder
from tests.embeddings.encoders.conftest import TEXTS, pictures
from tests.embeddings.encoders.tiny_clip import (
    CONTEXT_LENGTH,
    DIMENSION,
    transformers_tokenizer,
)


def unit(features: torch.Tensor) -> np.ndarray:
    return torch.nn.functional.normalize(features).numpy()


def test_texts_padded_to_the_longest_equal_texts_padded_to_the_end(
    reference: TransformersEncoder, tiny_clip: Path
) -> None:
    texts = [text for text in TEXTS if "<|" not in text]
    inputs = transformers_tokenizer()(
        texts, padding="max_length", truncation=True, max_length=CONTEXT_LENGTH, return_tensors="pt"
    )
    with torch.inference_mode():
        expected = CLIPModel.from_pretrained(tiny_clip).get_text_features(**inputs).pooler_output

    got = reference.encode(Modality.TEXT, texts)

    assert got.shape == (len(texts), DIMENSION)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, unit(expected), rtol=0, atol=2e-6)


def test_pictures_equal_the_processors(reference: TransformersEncoder, tiny_clip: Path) -> None:
    config = json.loads((tiny_clip / "preprocessor_config.json").read_text(encoding="utf-8"))
    images = pictures(40)
    pixels = CLIPImageProcessorPil(**config)(images=images, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        expected = CLIPModel.from_pretrained(tiny_clip).get_image_features(pixels).pooler_output

    got = reference.encode(Modality.IMAGE, images)

    assert got.shape == (40, DIMENSION)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, unit(expected), rtol=0, atol=2e-6)


def test_nothing_encodes_to_nothing(reference: TransformersEncoder) -> None:
    assert reference.encode(Modality.TEXT, []).shape == (0, DIMENSION)
    assert reference.encode(Modality.IMAGE, []).shape == (0, DIMENSION)


def test_it_describes_itself(reference: TransformersEncoder) -> None:
    assert reference.modalities == (Modality.IMAGE, Modality.TEXT)
    assert reference.describe().precision == "fp32"
    assert reference.dimension == DIMENSION
    assert reference.check() == []


def test_weights_that_cannot_be_read_are_named(tiny_clip: Path, tmp_path: Path) -> None:
    for path in tiny_clip.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    encoder = TransformersEncoder(str(tmp_path), device="cpu")

    with pytest.raises(EncoderError, match=r"cannot be loaded .* copy the model again"):
        encoder.encode(Modality.TEXT, ["the fox"])
