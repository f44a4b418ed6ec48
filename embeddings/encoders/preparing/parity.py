"""How close the vectors of one network are to another's, and what they are compared on."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embeddings.encoders.base import Modality, Vectors

DEMO: Final = Path(__file__).resolve().parents[3] / "demo"
SAMPLES: Final = 200
"""Inputs of each modality that a model is tried on."""
TOP: Final = 10
EXACT_COSINE: Final = 0.9999
"""Lowest mean cosine of a conversion that claims to be the same network."""
MEAN_COSINE: Final = 0.99
LOWEST_COSINE: Final = 0.97
TOP_OVERLAP: Final = 0.95
"""Share of the nearest ten. What falls below one of these three is not served."""

Samples: TypeAlias = Mapping[Modality, Sequence[Any]]
"""Inputs of the kind that will be searched, by modality."""


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
        return (
            self.count > 0
            and self.mean_cosine >= MEAN_COSINE
            and self.lowest_cosine >= LOWEST_COSINE
            and self.top_overlap >= TOP_OVERLAP
        )

    def __str__(self) -> str:
        if not self.count:
            return "no samples to compare"
        return (
            f"mean cosine {self.mean_cosine:.4f}, lowest {self.lowest_cosine:.4f}, "
            f"top-{TOP} overlap {self.top_overlap:.3f}"
        )


def compare(expected: Vectors, got: Vectors, others: Sequence[Vectors] = ()) -> Parity:
    """Compare unit vectors of one modality, and the neighbours that everything has among them.

    `others` are vectors of the other modalities, which ask for neighbours as well.
    """
    if not len(expected):
        return Parity(0.0, 0.0, 0.0, 0)
    cosines = (expected * got).sum(axis=1)
    before, after = (np.concatenate([side, *others]) for side in (expected, got))
    overlap = _overlap(before @ expected.T, after @ got.T)
    return Parity(float(cosines.mean()), float(cosines.min()), overlap, len(cosines))


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
        return {}
    with metadata.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = rows[:: max(1, len(rows) // SAMPLES)][:SAMPLES]
    images = [_upright_rgb(DEMO / "images" / row["image_filename"]) for row in chosen]
    return {Modality.TEXT: [row["caption"] for row in chosen], Modality.IMAGE: images}


def _upright_rgb(path: Path) -> Image.Image:
    """The picture with transparency laid on white."""
    with Image.open(path) as image:
        rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
