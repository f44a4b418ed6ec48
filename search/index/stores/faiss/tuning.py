"""How well a state answers at an effort, and the least effort that is enough."""

from __future__ import annotations

from typing import Final

import numpy as np

from search.index.stores.base import Matches, Vectors
from search.index.stores.faiss import searching
from search.index.stores.faiss.frozen import State
from search.index.stores.faiss.plan import EFFORTS
from search.index.stores.replica import Tuning

LOWERING_MARGIN: Final = 0.3
"""Share of the way from target to perfect recall that a lower effort must show: no flapping."""


def measure_recall(state: State, queries: Vectors, k: int, *, effort: int) -> float:
    """Share of the exact `k` nearest that a search with `effort` finds."""
    return _recall(state, queries, k, effort, searching.search_exactly(state, queries, k))


def tune(
    state: State, groups: tuple[Vectors, ...], k: int, *, previous: int, target: float
) -> Tuning:
    """Find the least effort that reaches `target` recall on every group of queries."""
    truths = [searching.search_exactly(state, queries, k) for queries in groups]
    for effort in EFFORTS[state.segment.kind]:
        recall = min(
            _recall(state, queries, k, effort, truth)
            for queries, truth in zip(groups, truths, strict=True)
        )
        margin = LOWERING_MARGIN if effort < previous else 0.0
        if recall >= target + margin * (1 - target):
            break
    return Tuning(recall=recall, effort=effort, previous_effort=previous)


def _recall(state: State, queries: Vectors, k: int, effort: int, truth: list[Matches]) -> float:
    """Share of the true matches found; a match with the k-th score is as good as the k-th."""
    answers = searching.search(state, queries, k, allowed=None, effort=effort)
    found = expected = 0
    for match, best in zip(answers, truth, strict=True):
        if best.scores.size:
            found += int(np.count_nonzero(match.scores >= best.scores[-1]))
            expected += best.scores.size
    return found / expected if expected else 1.0
