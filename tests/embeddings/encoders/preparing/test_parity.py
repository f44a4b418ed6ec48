from __future__ import annotations

import numpy as np
import pytest

from embeddings.encoders.base import Modality, unit
from embeddings.encoders.preparing.parity import DEMO, Parity, compare, demo_samples

NOTHING = np.empty((0, 0), np.float32)


def test_equal_vectors_agree_wholly() -> None:
    vectors = np.eye(12, dtype=np.float32)

    parity = compare(vectors, vectors, [vectors])

    assert parity == Parity(1.0, 1.0, 1.0, 12)
    assert parity.is_exact
    assert parity.is_close


def test_cosines_and_neighbours_are_averaged() -> None:
    # Eleven directions, so that each vector's ten nearest leave exactly one out. The candidate
    # turns the first vector into the second: only rows that had it elsewhere change.
    vectors = np.eye(11, dtype=np.float32)
    changed = vectors.copy()
    changed[0] = changed[1]

    parity = compare(vectors, changed)

    assert parity.mean_cosine == pytest.approx(10 / 11)
    assert parity.lowest_cosine == 0
    assert parity.count == 11
    assert not parity.is_close


def test_neighbours_that_differ_lower_the_overlap() -> None:
    angles = np.arange(40, dtype=np.float32) / 40
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    order = np.arange(40)
    order[:20] = np.arange(20)[::-1]

    same = compare(vectors, vectors)
    mirrored = compare(vectors, vectors[order])

    assert same.top_overlap == 1
    assert mirrored.top_overlap < 0.95


def test_nothing_compared_proves_nothing() -> None:
    parity = compare(NOTHING, NOTHING)

    assert (parity.is_exact, parity.is_close, str(parity)) == (
        False,
        False,
        "no samples to compare",
    )


@pytest.mark.parametrize(
    ("mean", "lowest", "overlap", "close"),
    [
        (0.99, 0.97, 0.95, True),
        (0.9899, 0.98, 1.0, False),
        (0.999, 0.9699, 1.0, False),
        (1.0, 1.0, 0.9499, False),
    ],
)
def test_the_bounds_of_what_is_served(
    mean: float, lowest: float, overlap: float, *, close: bool
) -> None:
    assert Parity(mean, lowest, overlap, 100).is_close is close


def test_neighbours_of_other_modalities_count() -> None:
    random = np.random.default_rng(0)
    vectors = unit(random.standard_normal((40, 8), dtype=np.float32))
    turned, _ = np.linalg.qr(random.standard_normal((8, 8)))
    changed = vectors @ turned.astype(np.float32)  # near each other as before, far from all else

    alone = compare(vectors, changed)
    asked = compare(vectors, changed, [vectors])

    assert alone.top_overlap == 1.0
    assert asked.top_overlap < 0.8


def test_a_comparison_can_be_read() -> None:
    assert str(Parity(0.99812, 0.9912, 0.9667, 400)) == (
        "mean cosine 0.9981, lowest 0.9912, top-10 overlap 0.967"
    )


def test_the_demo_catalogue_gives_samples() -> None:
    samples = demo_samples()

    assert DEMO.is_dir()
    assert {name: len(inputs) for name, inputs in samples.items()} == {
        Modality.TEXT: 200,
        Modality.IMAGE: 200,
    }
    assert {image.mode for image in samples[Modality.IMAGE]} == {"RGB"}
