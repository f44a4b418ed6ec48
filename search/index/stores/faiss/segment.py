"""The main segment: the rows of a snapshot, opened by memory map."""

from __future__ import annotations

import dataclasses
import mmap
import os
import weakref
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from search.index.stores.base import SAMPLE, Halves, Ids, StoreError, sample_order
from search.index.stores.faiss.ann import AnnIndex, Mask
from search.index.stores.faiss.blocks import ExactBlock
from search.index.stores.faiss.plan import Kind
from search.index.stores.faiss.snapshot import Snapshot, SnapshotDirectory
from search.index.stores.ranking import places_in

ROW_IDS: Final = "ids.npy"
"""int64 (rows,): the id of each row."""
VECTORS: Final = "vectors.npy"
"""float16 (rows, d)."""
LIVE: Final = "live.npy"
"""uint8: a bit a row, least significant first; 0 where the row was dead already."""
INDEX: Final = "index.faiss"
"""Absent where the kind is exact."""
FEW_ROWS: Final = 256
"""Rows that are read one by one: 64 take 74 µs (63 through the map), 1,024 three times as long."""


class RowFile:
    """Rows of a mapped file, read past the map.

    Where one page of a map is touched the system maps 16, and all count as the process's memory: a
    few hundred queries, which read a few rows each, would have the whole file.
    """

    def __init__(self, path: Path, mapped: Any) -> None:
        self._start, self._width, self._dtype = mapped.offset, mapped.strides[0], mapped.dtype
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)

    def read(self, rows: NDArray[np.int64]) -> Halves:
        """The rows, at least one."""
        starts = (self._start + self._width * rows).tolist()
        read = b"".join(os.pread(self._descriptor, self._width, start) for start in starts)
        return np.frombuffer(read, self._dtype).reshape(rows.size, -1)


@dataclasses.dataclass(frozen=True, eq=False)
class Segment:
    """Immutable rows with their index. Rows that died later are the State's to know."""

    snapshot: Snapshot | None
    folder: Path | None
    kind: Kind
    row_ids: Ids
    vectors: Halves
    """Mapped."""
    rows: RowFile | None
    """The same, where they are in a file."""
    live: Mask
    """As of the snapshot."""
    index: AnnIndex | None
    """None where the search is exact."""
    block: ExactBlock | None
    """All rows in memory where the search is exact, else None."""
    sorted_ids: Ids
    """Ascending ids to look up in."""
    sorted_rows: NDArray[np.int32] | None
    """Row of each of `sorted_ids`; None where rows are in that order themselves."""

    @classmethod
    def empty(cls, dimension: int) -> Segment:
        no_ids, no_vectors = np.empty(0, np.int64), np.empty((0, dimension), np.float16)
        return cls(
            snapshot=None,
            folder=None,
            kind=Kind.EXACT,
            row_ids=no_ids,
            vectors=no_vectors,
            rows=None,
            live=np.empty(0, np.bool_),
            index=None,
            block=ExactBlock.of(no_ids, no_vectors),
            sorted_ids=no_ids,
            sorted_rows=None,
        )

    @classmethod
    def open(cls, directory: SnapshotDirectory, snapshot: Snapshot) -> Segment:
        """Map the files of `snapshot`. Raises StoreError where one is damaged."""
        folder = directory.path / snapshot.folder
        kind = Kind(snapshot.kind)
        try:
            damage = directory.damage(snapshot, full=False)
            if damage:
                raise StoreError(f"{'; '.join(damage)}: run rebuild_index.")
            row_ids: Ids = np.load(folder / ROW_IDS, mmap_mode="r")
            vectors: Halves = np.load(folder / VECTORS, mmap_mode="r")
            rows = RowFile(folder / VECTORS, vectors)
            bits = np.load(folder / LIVE)
            index = None if kind is Kind.EXACT else AnnIndex.open(folder / INDEX, kind)
        except (OSError, ValueError, RuntimeError) as exc:
            raise StoreError(f"{folder} cannot be opened ({exc}): run rebuild_index.") from exc
        live = np.unpackbits(bits, count=snapshot.rows, bitorder="little").astype(np.bool_)
        shapes = (row_ids.shape, vectors.shape, len(row_ids if index is None else index))
        if shapes != ((snapshot.rows,), (snapshot.rows, snapshot.dimension), snapshot.rows):
            raise StoreError(f"{folder} holds {shapes}, not {snapshot.rows} rows: rebuild_index.")
        sorted_ids, sorted_rows = _order(row_ids, live)
        return cls(
            snapshot=snapshot,
            folder=folder,
            kind=kind,
            row_ids=row_ids,
            vectors=vectors,
            rows=rows,
            live=live,
            index=index,
            block=ExactBlock.of(row_ids, vectors) if index is None else None,
            sorted_ids=sorted_ids,
            sorted_rows=sorted_rows,
        )

    def fetch(self, rows: NDArray[np.int64]) -> Halves:
        """Vectors of `rows`, in that order."""
        if self.rows is not None and 0 < rows.size <= FEW_ROWS:
            return self.rows.read(rows)
        if rows.size and (np.diff(rows) == 1).all():  # a run: no copy
            return self.vectors[rows[0] : rows[-1] + 1]
        return self.vectors[rows]

    def let_go_of_pages(self) -> None:
        """The vectors' file does not count as this process's memory until it is read again."""
        mapped = getattr(self.vectors, "_mmap", None)
        if mapped is not None:
            mapped.madvise(mmap.MADV_DONTNEED)

    @cached_property
    def sampled_rows(self) -> NDArray[np.int64]:
        """Live rows whose ids come first in `sample_order`: two samples, for some will die."""
        rows = np.flatnonzero(self.live)
        return rows[np.argsort(sample_order(self.row_ids[rows]))[: 2 * SAMPLE]]

    @property
    def position(self) -> int:
        return 0 if self.snapshot is None else self.snapshot.position

    @property
    def bytes_used(self) -> float:
        """Memory that answering takes; of an index the float16 file is read for few rows only."""
        if self.snapshot is None:
            return 0.0
        used = self.row_ids.nbytes + self.live.nbytes / 8
        if self.sorted_rows is not None:
            used += self.sorted_ids.nbytes + self.sorted_rows.nbytes
        if self.index is None:
            used += self.vectors.nbytes
        else:
            used += sum(seal.size for seal in self.snapshot.files if seal.name == INDEX)
        return float(used)

    def __len__(self) -> int:
        return len(self.row_ids)

    def rows_of(self, ids: Ids) -> NDArray[np.int64]:
        """Row of each id, -1 where it has none. A row found may be dead by now."""
        places = places_in(self.sorted_ids, ids)
        if self.sorted_rows is None:
            return places
        return np.where(places < 0, -1, self.sorted_rows[places])


def _order(row_ids: Ids, live: Mask) -> tuple[Ids, NDArray[np.int32] | None]:
    """How to look ids up: rows as they stand where ascending, else the live ones sorted.

    A replaced id has a dead row beside its live one, so dead rows must stay out of the latter.
    """
    if (np.diff(row_ids) > 0).all():
        return row_ids, None
    rows = np.flatnonzero(live)
    rows = rows[np.argsort(row_ids[rows], kind="stable")]
    return row_ids[rows], rows.astype(np.int32)
