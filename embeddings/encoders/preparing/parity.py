"""How close one encoder's vectors are to another's."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embeddings.encoders.base import Modality, Vectors

DEMO: Final = Path(__file__).resolve().parents[3] / "demo"
SAMPLES: Final = 200
"""Texts, and pictures, that a model is tried on."""
TOP: Final = 10
EXACT_COSINE: Final = 0.9999
"""Lowest mean cosine of an export that claims to be the same network."""
MEAN_COSINE: Final = 0.99
"""Lowest mean cosine at which int8 is kept."""
TOP_OVERLAP: Final = 0.95
"""Lowest share of the nearest ten that int8 must find."""


class Encodes(Protocol):
    """The part of an encoder that is compared."""

    def encode(self, modality: Modality, inputs: Sequence[Any]) -> Vectors: ...


@dataclasses.dataclass(frozen=True)
class Samples:
    """What to compare on: texts and upright RGB pictures of the kind that will be searched."""

    texts: Sequence[str]
    images: Sequence[Image.Image]


@dataclasses.dataclass(frozen=True)
class Parity:
    """Agreement of a candidate with the reference over samples."""

    mean_cosine: float
    lowest_cosine: float
    top_overlap: float
    """Mean share of the reference's nearest ten that the candidate's nearest ten hold."""
    count: int
    """Vectors compared; 0 proves nothing."""

    @property
    def is_exact(self) -> bool:
        return self.count > 0 and self.mean_cosine >= EXACT_COSINE

    @property
    def is_close(self) -> bool:
        close = self.mean_cosine >= MEAN_COSINE and self.top_overlap >= TOP_OVERLAP
        return self.count > 0 and close

    def __str__(self) -> str:
        if not self.count:
            return "no samples to compare"
        return (
            f"mean cosine {self.mean_cosine:.4f} (lowest {self.lowest_cosine:.4f}), "
            f"top-{TOP} overlap {self.top_overlap:.3f}, over {self.count} samples"
        )


@dataclasses.dataclass(frozen=True)
class Encoded:
    """The vectors of samples, float32 (n, d); no rows where there were no samples."""

    texts: Vectors
    images: Vectors


def encode_samples(encoder: Encodes, samples: Samples) -> Encoded:
    """Encode texts and pictures."""
    nothing = np.empty((0, 0), np.float32)
    return Encoded(
        encoder.encode(Modality.TEXT, samples.texts) if samples.texts else nothing,
        encoder.encode(Modality.IMAGE, samples.images) if samples.images else nothing,
    )


def compare(reference: Encoded, candidate: Encoded) -> Parity:
    """Compare vectors and neighbours: those of every sample among pictures and among texts."""
    pairs = [
        (expected, got)
        for expected, got in (
            (reference.texts, candidate.texts),
            (reference.images, candidate.images),
        )
        if len(expected)
    ]
    if not pairs:
        return Parity(0.0, 0.0, 0.0, 0)
    cosines = np.concatenate([(expected * got).sum(axis=1) for expected, got in pairs])
    before, after = (np.concatenate(side) for side in zip(*pairs, strict=True))
    overlaps = [_overlap(before @ expected.T, after @ got.T) for expected, got in pairs]
    return Parity(
        float(cosines.mean()), float(cosines.min()), float(np.mean(overlaps)), len(cosines)
    )


def _overlap(expected: NDArray[np.float32], got: NDArray[np.float32]) -> float:
    """Mean share of the highest ten columns of each row that both score matrices name."""
    top = min(TOP, expected.shape[1])
    nearest = [np.argsort(-scores, axis=1, kind="stable")[:, :top] for scores in (expected, got)]
    shares = [len(np.intersect1d(a, b)) / top for a, b in zip(*nearest, strict=True)]
    return float(np.mean(shares))


def demo_samples() -> Samples:
    """Captions and pictures spread over the demo catalogue; none where it was not shipped."""
    metadata = DEMO / "metadata.csv"
    if not metadata.is_file():
        return Samples([], [])
    with metadata.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = rows[:: max(1, len(rows) // SAMPLES)][:SAMPLES]
    images = [_upright_rgb(DEMO / "images" / row["image_filename"]) for row in chosen]
    return Samples([row["caption"] for row in chosen], images)


def _upright_rgb(path: Path) -> Image.Image:
    """The picture with transparency laid on white."""
    with Image.open(path) as image:
        rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
