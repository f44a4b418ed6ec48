"""Exact scores and their order: the one place where a result list is made."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from search.index.stores.base import Halves, Ids, Matches, Scores

ROUNDING: Final = 1e-5
"""More than what float32 may be wrong by in a score."""
NO_MATCHES = Matches(ids=np.empty(0, np.int64), scores=np.empty(0, np.float32))


def exact_scores(vectors: Halves, query: NDArray[np.float32]) -> Scores:
    """Inner products of float16 (n, d) with float32 (d,), each correctly rounded to float32.

    A product of float16 and float32 is exact in float64, and the sum's error is far below
    float32: the score depends neither on a vector's place nor on how it was found. einsum, not
    BLAS, whose threads cost more than so few rows are worth.
    """
    sums = np.einsum("nd,d->n", vectors.astype(np.float64), query.astype(np.float64))
    return np.asarray(sums, dtype=np.float32)


def best(ids: Ids, scores: Scores, k: int) -> Matches:
    """Order by score descending, then id ascending; keep `k`."""
    order = np.lexsort((ids, -scores))[:k]
    return Matches(ids=ids[order], scores=scores[order])


def merge(one: Matches, other: Matches, k: int) -> Matches:
    """Best `k` of two answers over disjoint ids."""
    if not other.ids.size:
        return one
    return best(np.concatenate((one.ids, other.ids)), np.concatenate((one.scores, other.scores)), k)


def places_in(ascending: Ids, ids: Ids) -> NDArray[np.int64]:
    """Place of each id in `ascending`; -1 where it is not there."""
    if not ascending.size:
        return np.full(ids.shape, -1, dtype=np.int64)
    places = np.minimum(np.searchsorted(ascending, ids), ascending.size - 1)
    return np.where(ascending[places] == ids, places, -1)
