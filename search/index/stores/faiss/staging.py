"""The one mutable part: what is staged on top of a state until the next commit."""

from __future__ import annotations

import numpy as np

from search.index.stores.base import Halves, Ids
from search.index.stores.faiss.ann import Mask
from search.index.stores.faiss.blocks import ExactBlock
from search.index.stores.faiss.frozen import DELTA_BLOCK_ROWS, State
from search.index.stores.faiss.segment import Segment


class Writer:
    """Stages changes over one segment. One thread at a time.

    The delta's full blocks are sealed; each commit that changed its tail copies the tail.
    """

    def __init__(self, segment: Segment) -> None:
        self.lineage = object()
        self.segment = segment
        self._live: Mask = segment.live.copy()
        self._live_shared = False
        self._count = int(np.count_nonzero(segment.live))
        self._blocks: list[ExactBlock] = []
        self._delta_live = bytearray()  # 1 where live
        self._delta_rows: dict[int, int] = {}
        self._tail_ids = np.empty(DELTA_BLOCK_ROWS, np.int64)
        self._tail_vectors = np.empty((DELTA_BLOCK_ROWS, segment.vectors.shape[1]), np.float16)
        self._tail_size = 0
        self._tail_block: ExactBlock | None = None

    def upsert(self, ids: Ids, vectors: Halves) -> None:
        """Append rows, after tombstoning those they replace. ids unique."""
        self.remove(ids)
        self._count += ids.size
        first = len(self._delta_live)
        self._delta_rows.update(zip(ids.tolist(), range(first, first + ids.size), strict=True))
        self._delta_live += b"\x01" * ids.size
        start = 0
        while start < ids.size:
            taken = min(DELTA_BLOCK_ROWS - self._tail_size, ids.size - start)
            place = slice(self._tail_size, self._tail_size + taken)
            self._tail_ids[place] = ids[start : start + taken]
            self._tail_vectors[place] = vectors[start : start + taken]
            self._tail_size += taken
            self._tail_block = None
            start += taken
            if self._tail_size == DELTA_BLOCK_ROWS:
                self._blocks.append(self._copy_of_tail())
                self._tail_size = 0

    def remove(self, ids: Ids) -> None:
        """Tombstone the rows of `ids`, where there are any."""
        delta_rows = [row for key in ids.tolist() if (row := self._delta_rows.pop(key, -1)) >= 0]
        for row in delta_rows:
            self._delta_live[row] = 0
        rows = self.segment.rows_of(np.unique(ids))
        rows = rows[rows >= 0]
        rows = rows[self._live[rows]]
        if rows.size:
            if self._live_shared:
                self._live, self._live_shared = self._live.copy(), False
            self._live[rows] = False
        self._count -= len(delta_rows) + rows.size

    def freeze(self, position: int) -> State:
        """Everything staged so far as one immutable state."""
        if self._tail_size and self._tail_block is None:
            self._tail_block = self._copy_of_tail()
        tail = (self._tail_block,) if self._tail_size and self._tail_block else ()
        self._live_shared = True
        return State(
            lineage=self.lineage,
            segment=self.segment,
            live=self._live,
            blocks=(*self._blocks, *tail),
            delta_live=np.frombuffer(bytes(self._delta_live), dtype=np.bool_),
            count=self._count,
            position=position,
        )

    def rebase(self, segment: Segment, compacted: State) -> Writer:
        """A writer over `segment`, made of `compacted`, with what was staged here since then."""
        now = self.freeze(0)
        ids, rows = now.delta_ids, len(compacted.delta_live)
        gone_from_segment = compacted.segment.row_ids[compacted.live & ~now.live]
        gone_from_delta = ids[:rows][compacted.delta_live & ~now.delta_live[:rows]]
        writer = Writer(segment)
        writer.remove(np.concatenate((gone_from_segment, gone_from_delta)))
        newer = rows + np.flatnonzero(now.delta_live[rows:])
        writer.upsert(ids[newer], now.delta_vectors(newer))
        return writer

    def _copy_of_tail(self) -> ExactBlock:
        size = self._tail_size
        return ExactBlock.of(self._tail_ids[:size].copy(), self._tail_vectors[:size])
