"""Writing a state as the files of a new snapshot."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Final

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from search.index.stores.base import Halves, Ids
from search.index.stores.faiss.ann import BLOCK_ROWS, TRAINING_ROWS, AnnIndex
from search.index.stores.faiss.frozen import State
from search.index.stores.faiss.plan import REPLAN_FACTOR, Kind, Plan
from search.index.stores.faiss.segment import INDEX, LIVE, ROW_IDS, VECTORS
from search.index.stores.faiss.snapshot import Snapshot

DELTA_ROWS: Final = 8192
"""Delta rows worth a compaction: an exact scan of so many takes about a third of a millisecond."""
DELTA_SHARE: Final = 0.02
"""The same for large segments, whose files take long to copy."""
DEAD_SHARE: Final = 0.2
"""Share of dead rows from which the index is built anew rather than appended to."""


@dataclasses.dataclass(frozen=True)
class Written:
    """What the manifest must know of the files written."""

    rows: int
    trained_rows: int


@dataclasses.dataclass(frozen=True)
class _Source:
    """Rows of a state in one numbering: the segment's, then the delta's."""

    state: State
    ids: Ids

    @classmethod
    def of(cls, state: State) -> _Source:
        return cls(state, np.concatenate((state.segment.row_ids, state.delta_ids)))

    def vectors(self, rows: NDArray[np.int64]) -> Halves:
        segment = self.state.segment
        vectors = np.empty((rows.size, segment.vectors.shape[1]), np.float16)
        old = rows < len(segment)
        vectors[old] = segment.vectors[rows[old]]
        vectors[~old] = self.state.delta_vectors(rows[~old] - len(segment))
        return vectors


def worth_compacting(state: State, plan: Plan, *, exact_rows: int | None = None) -> bool:
    """Whether the delta slows searches, or the dead waste space, enough.

    Also where `plan` is another approximate index: the memory budget was changed, or the graph
    outgrown. The delta may grow to half of `exact_rows` (DELTA_ROWS).
    """
    rows = len(state.segment)
    limit = DELTA_ROWS if exact_rows is None else exact_rows // 2
    return (
        len(state.delta_live) > max(limit, DELTA_SHARE * rows)
        or rows - state.live_rows > max(limit, DEAD_SHARE * rows)
        or {plan.kind, state.segment.kind} == {Kind.HNSW, Kind.IVF}
    )


def write(state: State, folder: Path, plan: Plan, *, threads: int) -> Written:
    """Write the files of a snapshot of `state` into `folder`.

    Where the plan stays and few rows are dead, a copy of the old index is appended to: the cost
    is that of the delta, not of the whole. Otherwise the live rows, sorted by id, are indexed
    anew.
    """
    source, old = _Source.of(state), _extendable(state, plan)
    alive = np.concatenate((state.live, state.delta_live))
    rows = np.flatnonzero(alive)
    rows = rows[np.argsort(source.ids[rows])]
    if old is not None:
        kept = len(state.segment)
        rows = np.concatenate((np.arange(kept), rows[rows >= kept]))
    vectors = _write_vectors(source, rows, folder / VECTORS)
    np.save(folder / ROW_IDS, source.ids[rows])
    np.save(folder / LIVE, np.packbits(alive[rows], bitorder="little"))
    if plan.kind is Kind.EXACT:
        return Written(rows=rows.size, trained_rows=rows.size)
    if old is not None and state.segment.folder is not None:
        index = AnnIndex.open(state.segment.folder / INDEX, plan.kind, mapped=False)
        trained = old.trained_rows
    else:
        sample = vectors[:: max(1, rows.size // TRAINING_ROWS)].astype(np.float32)
        index, trained = AnnIndex.train(plan, sample, threads_count=threads), rows.size
    for start in range(len(index), rows.size, BLOCK_ROWS):
        part = vectors[start : start + BLOCK_ROWS].astype(np.float32)
        index.add(part, threads_count=threads)
    index.write(folder / INDEX)
    return Written(rows=rows.size, trained_rows=trained)


def _extendable(state: State, plan: Plan) -> Snapshot | None:
    """The open snapshot, where `plan` can go on from its index.

    Its files are gone where other processes wrote newer snapshots meanwhile; the maps still hold.
    """
    old, folder = state.segment.snapshot, state.segment.folder
    if old is None or folder is None or (old.kind, old.factory) != (plan.kind, plan.factory):
        return None
    if plan.kind is Kind.EXACT or not (folder / INDEX).exists():
        return None
    dead_share = (old.rows - state.live_rows) / old.rows
    outgrown = state.count > REPLAN_FACTOR * old.trained_rows
    return None if outgrown or dead_share > DEAD_SHARE else old


def _write_vectors(source: _Source, rows: NDArray[np.int64], path: Path) -> Halves:
    """Write the vectors of `rows` block by block, and map what was written."""
    shape = (rows.size, source.state.segment.vectors.shape[1])
    written = open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
    for start in range(0, rows.size, BLOCK_ROWS):
        part = rows[start : start + BLOCK_ROWS]
        written[start : start + part.size] = source.vectors(part)
    written.flush()
    return written
