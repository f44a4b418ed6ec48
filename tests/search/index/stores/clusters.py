"""Unit vectors in clusters, as a catalogue's are: topics differ in size and overlap a little."""

from __future__ import annotations

import numpy as np

from search.index.stores.base import Ids, Vectors


def clustered(count: int, dimension: int, *, seed: int, topics: int = 32) -> Vectors:
    """Make `count` vectors around `topics` centres that depend on the dimension alone."""
    centres = np.random.default_rng(7).standard_normal((topics, dimension))
    generator = np.random.default_rng(seed)
    vectors = centres[generator.integers(topics, size=count)]
    vectors = vectors + 0.6 * generator.standard_normal((count, dimension))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32)


def keys(*values: int) -> Ids:
    return np.array(values, dtype=np.int64)
