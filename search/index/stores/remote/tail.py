"""What changed after the last thing that a remote store was told, searched exactly in memory."""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
from numpy.typing import NDArray

from search.index.stores.base import Halves, Ids, IdSet, Matches, Vectors
from search.index.stores.ranking import NO_MATCHES, ROUNDING, best, exact_scores, places_in

TIES: Final = 16
"""Candidates more than asked for, lest float32 decides between the last."""


@dataclasses.dataclass(frozen=True, eq=False)
class Tail:
    """Items that the log names after `start`, up to `end`, as the database has them. Immutable."""

    start: int
    end: int
    ids: Ids
    """All that changed, ascending."""
    seqs: NDArray[np.int64]
    """The last line of the log that names each."""
    rows: NDArray[np.int64]
    """Row of each one's vector; -1 where it has none any more."""
    vectors: Vectors

    @classmethod
    def empty(cls, position: int, dimension: int) -> Tail:
        none = np.empty(0, np.int64)
        return cls(position, position, none, none, none, np.empty((0, dimension), np.float32))

    def begun_at(self, start: int) -> Tail:
        """The same without what the store was told of since."""
        if start <= self.start:
            return self
        return self._taken(self.seqs > start, start)

    def extended(self, end: int, lines: dict[int, int], ids: Ids, halves: Halves) -> Tail:
        """With `lines`, the last `seq` by item, up to `end`; of these items `ids` have vectors."""
        changed = np.array(sorted(lines), dtype=np.int64)
        old = self._taken(~np.isin(self.ids, changed), self.start)
        places = places_in(ids, changed)
        every = np.concatenate((old.ids, changed))
        order = np.argsort(every)
        rows = np.where(places < 0, -1, places + len(old.vectors))
        seqs = np.array([lines[key] for key in changed.tolist()], dtype=np.int64)
        return Tail(
            start=self.start,
            end=end,
            ids=every[order],
            seqs=np.concatenate((old.seqs, seqs))[order],
            rows=np.concatenate((old.rows, rows))[order],
            vectors=np.concatenate((old.vectors, halves.astype(np.float32))),
        )

    @property
    def present(self) -> Ids:
        """Those that have a vector, ascending."""
        return self.ids[self.rows >= 0]

    @property
    def removed(self) -> Ids:
        """Those that have none."""
        return self.ids[self.rows < 0]

    def holds(self, ids: Ids) -> NDArray[np.bool_]:
        """Which of `ids` changed, bool (n,)."""
        return places_in(self.ids, ids) >= 0

    def search(self, query: NDArray[np.float32], k: int, allowed: IdSet | None) -> Matches:
        """The best `k` of what changed."""
        chosen = self.rows >= 0
        if allowed is not None:
            chosen &= places_in(allowed.ids, self.ids) >= 0
        ids, rows = self.ids[chosen], self.rows[chosen]
        if not ids.size:
            return NO_MATCHES
        near = self.vectors @ query
        near = near[rows]
        if ids.size > k + TIES:
            least = np.partition(near, ids.size - k)[ids.size - k] - ROUNDING
            ids, rows = ids[near >= least], rows[near >= least]
        return best(ids, exact_scores(self.vectors[rows].astype(np.float16), query), k)

    def _taken(self, kept: NDArray[np.bool_], start: int) -> Tail:
        rows = self.rows[kept]
        used = np.unique(rows[rows >= 0])
        return Tail(
            start=start,
            end=max(self.end, start),
            ids=self.ids[kept],
            seqs=self.seqs[kept],
            rows=places_in(used, rows),
            vectors=self.vectors[used],
        )
