"""How alike two ranked lists are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def overlap(left: Sequence[int], right: Sequence[int]) -> float:
    """Share of the longer list that both hold; 1 where both are empty."""
    longer = max(len(left), len(right))
    return len(set(left) & set(right)) / longer if longer else 1.0


def rank_correlation(left: Sequence[int], right: Sequence[int]) -> float:
    """Kendall's tau-b over all that either list holds, from -1 to 1.

    What a list lacks shares the place after its last. Where one order says nothing (fewer than two
    places), 1 for equal lists and 0 for others.
    """
    held = sorted({*left, *right})
    ranks = [_ranks(held, each) for each in (left, right)]
    a, b = (np.sign(rank[:, np.newaxis] - rank) for rank in ranks)
    ordered = float(np.sqrt(np.square(a).sum() * np.square(b).sum()))
    if not ordered:
        return float(list(left) == list(right))
    return float((a * b).sum() / ordered)


def _ranks(held: Sequence[int], ranked: Sequence[int]) -> NDArray[np.int64]:
    places = {key: place for place, key in enumerate(ranked)}
    return np.array([places.get(key, len(ranked)) for key in held], dtype=np.int64)
