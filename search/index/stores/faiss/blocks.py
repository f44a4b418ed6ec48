"""Rows in memory that are searched exactly, and looking ids up in sorted arrays."""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
from numpy.typing import NDArray

from search.index.stores.base import Halves, Ids, Matches
from search.index.stores.faiss.ann import HalfBlock, Selector
from search.index.stores.ranking import ROUNDING, best, exact_scores

_TIE_SLACK: Final = 16


@dataclasses.dataclass(frozen=True, eq=False)
class ExactBlock:
    """Vectors with their ids and an exact index over them. Immutable."""

    ids: Ids
    index: HalfBlock

    @classmethod
    def of(cls, ids: Ids, vectors: Halves) -> ExactBlock:
        return cls(ids, HalfBlock(vectors))

    def search(
        self, query: NDArray[np.float32], k: int, *, wanted: int, selector: Selector | None = None
    ) -> Matches:
        """Best `k` of the `wanted` > 0 selected rows, ties by id included.

        FAISS's float32 scores only choose candidates: as long as the last one fetched might tie
        with the k-th, more are fetched.
        """
        count = min(k + _TIE_SLACK, wanted)
        while True:
            rows, scores = self.index.search(query, count, selector)
            if count >= wanted or scores[-1] < scores[k - 1] - ROUNDING:
                break
            count = min(4 * count, wanted)
        return best(self.ids[rows], exact_scores(self.index.vectors[rows], query), k)
