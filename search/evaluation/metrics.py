"""How good an answer is: each figure of one query, and intervals of their means."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

CUT: Final = 10
"""Hits that nDCG and recall look at: a page that people read."""
RESAMPLES: Final = 2_000
CONFIDENCE: Final = 0.95


@dataclasses.dataclass(frozen=True)
class Figures:
    """Of one query. The first three lie between 0 and 1, and are NaN where nothing answers it."""

    ndcg: float
    reciprocal_rank: float
    recall: float
    shown: int
    irrelevant: int
    """Hits shown that do not answer the query."""

    @property
    def share(self) -> float:
        """Of the hits shown, how many answer the query; NaN where none is shown."""
        return 1 - self.irrelevant / self.shown if self.shown else float("nan")


def measure(hits: Sequence[str], relevant: Mapping[str, int]) -> Figures:
    """Judge the hits of one query, best first: all that are shown."""
    return Figures(
        ndcg(hits, relevant),
        reciprocal_rank(hits, relevant),
        recall(hits, relevant),
        len(hits),
        sum(hit not in relevant for hit in hits),
    )


def ndcg(hits: Sequence[str], relevant: Mapping[str, int], cut: int = CUT) -> float:
    """Discounted gain of the first `cut` hits over that of the best order; gain 2^grade - 1."""
    best = _discounted(sorted(relevant.values(), reverse=True)[:cut])
    return _discounted([relevant.get(hit, 0) for hit in hits[:cut]]) / best if best else np.nan


def reciprocal_rank(hits: Sequence[str], relevant: Mapping[str, int]) -> float:
    """One over the rank of the first hit that has the query's highest grade; 0 without one."""
    if not relevant:
        return float("nan")
    highest = max(relevant.values())
    ranks = (rank for rank, hit in enumerate(hits, start=1) if relevant.get(hit) == highest)
    return 1 / next(ranks, np.inf)


def recall(hits: Sequence[str], relevant: Mapping[str, int], cut: int = CUT) -> float:
    """Relevant items among the first `cut` hits, over all, or over `cut` where there are more."""
    if not relevant:
        return float("nan")
    return sum(hit in relevant for hit in hits[:cut]) / min(cut, len(relevant))


def interval(values: NDArray[np.float64], *, seed: int = 0) -> tuple[float, float]:
    """The CONFIDENCE interval of a mean, by resampling the queries: values float64 (n,).

    Of a difference between two ways to search, give the differences query by query: that pairs
    them, and what makes a query hard for both cancels out.
    """
    if not values.size:
        return (float("nan"), float("nan"))
    source = np.random.default_rng(seed)
    means = values[source.integers(values.size, size=(RESAMPLES, values.size))].mean(axis=1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _discounted(grades: Sequence[int]) -> float:
    gains = np.exp2(np.array(grades, dtype=np.float64)) - 1
    return float((gains / np.log2(np.arange(2, len(grades) + 2))).sum())
