"""Rows in memory that are searched exactly, and looking ids up in sorted arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from search.index.stores.base import Halves, Ids, Matches, Scores
from search.index.stores.faiss.ann import HalfBlock, Selector
from search.index.stores.ranking import ROUNDING, best, exact_scores

_TIE_SLACK: Final = 16


class Near(NamedTuple):
    """Rows near a query with FAISS's float32 scores, which only choose what is scored again."""

    rows: NDArray[np.int64]
    scores: Scores

    @classmethod
    def of(cls, parts: Sequence[Near], k: int) -> Near:
        """Those of all parts among which the best `k` are; at least one part."""
        rows = np.concatenate([part.rows for part in parts])
        scores = np.concatenate([part.scores for part in parts])
        if rows.size > k:
            may_be = scores >= np.partition(scores, -k)[-k] - ROUNDING
            rows, scores = rows[may_be], scores[may_be]
        return cls(rows, scores)


@dataclasses.dataclass(frozen=True, eq=False)
class ExactBlock:
    """Vectors with their ids and an exact index over them. Immutable."""

    ids: Ids
    index: HalfBlock

    @classmethod
    def of(cls, ids: Ids, vectors: Halves) -> ExactBlock:
        return cls(ids, HalfBlock(vectors))

    def near(
        self, query: NDArray[np.float32], k: int, *, wanted: int, selector: Selector | None = None
    ) -> Near:
        """Some of the `wanted` > 0 selected rows, the best `k` among them, by score and id.

        As long as the last one fetched might tie with the k-th, more are fetched; of many equal
        ones no more than `k` are left.
        """
        count = min(k + _TIE_SLACK, wanted)
        while True:
            rows, scores = self.index.search(query, count, selector)
            if count >= wanted or scores[-1] < scores[k - 1] - ROUNDING:
                break
            count = min(4 * count, wanted)
        if rows.size > k + _TIE_SLACK:
            exact = exact_scores(self.index.vectors[rows], query)
            first = np.lexsort((self.ids[rows], -exact))[:k]
            rows, scores = rows[first], scores[first]
        return Near(rows, scores)

    def search(
        self, query: NDArray[np.float32], k: int, *, wanted: int, selector: Selector | None = None
    ) -> Matches:
        """Best `k` of the `wanted` > 0 selected rows, ties by id included."""
        rows = self.near(query, k, wanted=wanted, selector=selector).rows
        return best(self.ids[rows], exact_scores(self.index.vectors[rows], query), k)
