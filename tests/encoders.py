"""A small exact encoder: colours mean the same in words and pictures; other words are hashed."""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from django.core.checks import CheckMessage
from PIL.Image import Image

from embeddings.encoders.base import (
    Encoder,
    EncoderDescription,
    EncoderError,
    Modality,
    Purpose,
    Vectors,
)

COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "purple": (255, 0, 255),
    "white": (255, 255, 255),
    "black": (0, 0, 0),
}
WORD_DIMENSIONS = 28
POISON = "POISON"
"""A text that the encoder refuses."""
REVISION = "1"
REFUSES: dict[str, str] = {}
"""A text that a model of that name refuses."""
COVERS: dict[str, tuple[Modality, ...]] = {}
"""What models of other than pictures and texts cover."""
ENCODED: Counter[Modality] = Counter()
"""Inputs that this process encoded."""
GONE: set[str] = {"gone"}
"""Models whose files are gone."""
DELAY = float(os.environ.get("TESTS_DELAY", "0"))
"""Seconds a batch of captions takes, for tests that kill a worker in the middle."""


class ColourEncoder(Encoder):
    """float32 (n, 32): four numbers of mean colour, then hashed words.

    Models whose names differ in length make other vectors, and scores, of the same.
    """

    def __init__(self, name: str, revision: str = "") -> None:
        del revision  # there is one at a time
        self.name = name

    def describe(self) -> EncoderDescription:
        if self.name in GONE:
            raise EncoderError(f"{self.name} is gone.")
        return EncoderDescription(
            model=self.name,
            revision=REVISION,
            precision="fp32",
            preprocessing="mean colour",
            dimension=4 + WORD_DIMENSIONS,
            modalities=COVERS.get(self.name, (Modality.IMAGE, Modality.TEXT)),
        )

    def encode(
        self, modality: Modality, inputs: Sequence[Any], *, purpose: Purpose = Purpose.DOCUMENT
    ) -> Vectors:
        if modality is Modality.TEXT:
            refused = (POISON, REFUSES.get(self.name, POISON))
            if any(each in text for text in inputs for each in refused):
                raise EncoderError("This text is poison.")
            if purpose is Purpose.DOCUMENT:
                time.sleep(DELAY)
        rows = np.array([FEATURES[modality](each) for each in inputs])
        ENCODED[modality] += len(inputs)
        rows[:, 4:] *= len(self.name) / len("colour")
        return np.roll(_unit(rows), len(self.name), axis=1)

    def check(self) -> list[CheckMessage]:
        return []


def _colour_features(rgb: Sequence[float]) -> list[float]:
    return [0.1, *(channel / 255 for channel in rgb)]


def _image_features(image: Image) -> list[float]:
    pixel = np.asarray(image.convert("RGB").resize((1, 1)), dtype=float)[0, 0]
    return [*_colour_features(pixel), *[0.0] * WORD_DIMENSIONS]


def _text_features(text: str) -> list[float]:
    features = np.zeros(4 + WORD_DIMENSIONS)
    for word in text.lower().split():
        if word in COLOURS:
            features[:4] += _colour_features(COLOURS[word])
        else:
            digest = hashlib.sha256(word.encode()).digest()
            features[4 + digest[0] % WORD_DIMENSIONS] += 0.5
    features[0] += 0.01
    return features.tolist()


FEATURES: dict[Modality, Callable[[Any], list[float]]] = {
    Modality.IMAGE: _image_features,
    Modality.TEXT: _text_features,
}


def _unit(rows: np.ndarray) -> Vectors:
    unit: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit
