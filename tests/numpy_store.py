"""The plain store: one array, every search exact. For small catalogues, and as the oracle."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from search.index.stores.base import (
    SAMPLE,
    Halves,
    Ids,
    IdSet,
    Matches,
    Scores,
    StoreError,
    StoreStats,
    Vectors,
    sample_order,
)
from search.index.stores.ranking import best, exact_scores
from search.index.stores.replica import Replica

if TYPE_CHECKING:
    from django.core.checks import CheckMessage


@dataclasses.dataclass(frozen=True)
class _State:
    ids: Ids
    """Ascending."""
    vectors: Halves
    position: int


class NumpyStore(Replica):
    """Exact search by NumPy alone; keeps nothing on disk."""

    def __init__(self, dimension: int) -> None:
        super().__init__(dimension)
        self._staged: dict[int, NDArray[np.float16]] = {}
        self.commit(0)

    def upsert(self, ids: Ids, vectors: Vectors) -> None:
        halves = self._to_store(ids, vectors)
        self._staged.update(zip(ids.tolist(), halves, strict=True))

    def remove(self, ids: Ids) -> None:
        for key in ids.tolist():
            self._staged.pop(key, None)

    def reset(self) -> None:
        self._staged.clear()

    def commit(self, position: int) -> None:
        ids = np.array(sorted(self._staged), dtype=np.int64)
        vectors = np.empty((ids.size, self.dimension), dtype=np.float16)
        for row, key in enumerate(ids.tolist()):
            vectors[row] = self._staged[key]
        self._state = _State(ids, vectors, position)

    def rollback(self) -> None:
        state = self._state
        self._staged = dict(zip(state.ids.tolist(), state.vectors, strict=True))

    def position(self) -> int:
        return self._state.position

    def search(self, vectors: Vectors, k: int, *, allowed: IdSet | None = None) -> list[Matches]:
        state, queries = self._state, self._to_search(vectors)
        ids, stored = state.ids, state.vectors
        if allowed is not None:
            kept = np.isin(ids, allowed.ids)
            ids, stored = ids[kept], stored[kept]
        return [best(ids, exact_scores(stored, query), k) for query in queries]

    def ids(self) -> Ids:
        return self._state.ids

    def holds(self, ids: Ids) -> NDArray[np.bool_]:
        return np.isin(ids, self._state.ids)

    def scan(self) -> Iterator[tuple[Ids, Vectors]]:
        yield self._state.ids, self._state.vectors.astype(np.float32)

    def fetch(self, ids: Ids) -> Vectors:
        state = self._state
        missing = np.setdiff1d(ids, state.ids)
        if missing.size:
            raise StoreError(f"No vector for id {missing[0]}: ask only for ids of the store.")
        return state.vectors[np.searchsorted(state.ids, ids)].astype(np.float32)

    def scores(self, vector: NDArray[np.float32], ids: Ids) -> Scores:
        state = self._state
        found = np.full(ids.size, np.nan, np.float32)
        present = np.isin(ids, state.ids)
        rows = np.searchsorted(state.ids, ids[present])
        found[present] = exact_scores(state.vectors[rows], vector)
        return found

    def sample(self) -> Vectors:
        order = np.argsort(sample_order(self._state.ids))[:SAMPLE]
        return self._state.vectors[order].astype(np.float32)

    def __len__(self) -> int:
        return self._state.ids.size

    def stats(self) -> StoreStats:
        width = self.dimension * 2 + 8
        return StoreStats(kind="exact", count=len(self), bytes_per_vector=width)

    def check(self) -> list[CheckMessage]:
        return []
