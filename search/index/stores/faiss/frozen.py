"""What readers see: one immutable reference over main segment, tombstones and delta."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from search.index.stores.base import SAMPLE, Halves, Ids, StoreError, Vectors, sample_order
from search.index.stores.faiss.ann import Mask, Selector
from search.index.stores.faiss.blocks import ExactBlock
from search.index.stores.faiss.segment import Segment
from search.index.stores.ranking import places_in

DELTA_BLOCK_ROWS: Final = 2048
"""Rows of every block of the delta but the last."""


@dataclasses.dataclass(frozen=True, eq=False)
class State:
    """A consistent set of vectors. Nothing in it ever changes."""

    lineage: object
    """The same in states that grew from one opening of a segment."""
    segment: Segment
    live: Mask
    """Rows of the segment that are neither removed nor replaced."""
    blocks: tuple[ExactBlock, ...]
    """The delta: rows added since the snapshot."""
    delta_live: Mask
    """The same as `live` over the rows of all blocks, in order."""
    count: int
    """Live vectors."""
    position: int

    @cached_property
    def live_rows(self) -> int:
        """Count of the segment's rows that may be found."""
        return int(np.count_nonzero(self.live))

    @cached_property
    def live_selector(self) -> Selector | None:
        """The same rows for the index; None where it is all of them."""
        return None if self.live_rows == len(self.segment) else Selector(self.live)

    @cached_property
    def _delta_by_id(self) -> tuple[Ids, NDArray[np.int64]]:
        """Live ids of the delta, ascending, and the row of each."""
        rows = np.flatnonzero(self.delta_live)
        ids = self.delta_ids[rows]
        order = np.argsort(ids)
        return ids[order], rows[order]

    @property
    def bytes_per_vector(self) -> float:
        """Memory that answering takes for each row, of the segment and of the delta."""
        delta = sum(block.ids.nbytes + block.index.vectors.nbytes for block in self.blocks)
        rows = len(self.segment) + len(self.delta_live)
        return (self.segment.bytes_used + delta) / rows if rows else 0.0

    def live_ids(self) -> Ids:
        """Ascending."""
        runs = (self.segment.row_ids[self.live], self._delta_by_id[0])
        return np.sort(np.concatenate(runs), kind="stable")  # merges ascending runs

    def holds(self, ids: Ids) -> Mask:
        """Which of `ids` have a vector."""
        delta_ids, _ = self._delta_by_id
        return np.asarray((self.rows_of(ids) >= 0) | (places_in(delta_ids, ids) >= 0))

    def rows_of(self, ids: Ids) -> NDArray[np.int64]:
        """Live row of the segment of each id; -1 where it has none."""
        rows = self.segment.rows_of(ids)
        found = np.flatnonzero(rows >= 0)
        rows[found[~self.live[rows[found]]]] = -1
        return rows

    @cached_property
    def delta_ids(self) -> Ids:
        return np.concatenate([np.empty(0, np.int64), *(block.ids for block in self.blocks)])

    def delta_vectors(self, rows: NDArray[np.int64]) -> Halves:
        """Vectors of rows of the delta, in that order."""
        vectors = np.empty((rows.size, self.segment.vectors.shape[1]), np.float16)
        numbers, places = np.divmod(rows, DELTA_BLOCK_ROWS)
        for number in np.unique(numbers):
            here = numbers == number
            vectors[here] = self.blocks[number].index.vectors[places[here]]
        return vectors

    @cached_property
    def sample(self) -> Vectors:
        """See VectorStore.sample."""
        rows = self.segment.sampled_rows
        living = rows[self.live[rows]]
        if living.size < min(SAMPLE, self.live_rows):  # too many have gone
            ids = self.live_ids()
        else:
            ids = np.concatenate((self.segment.row_ids[living], self._delta_by_id[0]))
        chosen = ids[np.argsort(sample_order(ids))[:SAMPLE]]
        vectors = self.fetch(chosen).astype(np.float32)
        self.segment.let_go_of_pages()
        return vectors

    def fetch(self, ids: Ids) -> Halves:
        """Vectors of `ids`, in that order. Raises StoreError where one is absent."""
        vectors, present = self.look_up(ids)
        if not present.all():
            missing = ids[~present][0]
            raise StoreError(f"No vector for id {missing}: ask only for ids of the store.")
        return vectors

    def look_up(self, ids: Ids) -> tuple[Halves, Mask]:
        """The vector of each id, in that order, zeros where it has none, and which ones have."""
        vectors = np.zeros((ids.size, self.segment.vectors.shape[1]), dtype=np.float16)
        rows = self.rows_of(ids)
        present = rows >= 0
        vectors[present] = self.segment.fetch(rows[present])
        delta_ids, delta_rows = self._delta_by_id
        new = np.flatnonzero(~present)
        places = places_in(delta_ids, ids[new])
        new, places = new[places >= 0], places[places >= 0]
        vectors[new] = self.delta_vectors(delta_rows[places])
        present[new] = True
        return vectors, present
