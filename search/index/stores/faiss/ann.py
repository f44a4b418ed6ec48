"""The part of FAISS that the store uses, typed. The only module of the project to import it.

FAISS keeps its search parameters on the index unless a call brings its own; every call here
does, because an index is shared by all threads of the process.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

import faiss as untyped_faiss
import numpy as np
from numpy.typing import NDArray

from search.index.stores.base import Halves, Ids, Scores, Vectors
from search.index.stores.faiss.plan import Kind, Plan

faiss: Any = untyped_faiss  # its own stubs lack half of what is used here

Mask: TypeAlias = NDArray[np.bool_]
"""bool (n,): which rows may be found."""

BLOCK_ROWS: Final = 8192
"""Rows handled at once where a whole file is read: 8 MiB of float16 at 512 dimensions."""
SCAN_ROWS: Final = 1024
"""Rows scanned at once for a single query: 1 MiB at 512 dimensions."""
TRAINING_ROWS: Final = 65_536
"""Rows that ranges, centroids and codebooks are learned from."""
ROWS_PER_CANDIDATE: Final = 4
"""Rows looked at in inverted lists, at least, for every one that is fetched."""


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Let FAISS use `count` threads for what this thread asks of it.

    OpenMP keeps the number per calling thread, so a search and a build set theirs side by side.
    """
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


class Selector:
    """Rows that a search may return, as FAISS reads them. Immutable."""

    def __init__(self, mask: Mask) -> None:
        self._bits = np.packbits(mask, bitorder="little")
        self.faiss: Any = faiss.IDSelectorBitmap(self._bits)


class HalfBlock:
    """float16 vectors in memory, searched exactly. Immutable but for `refill`."""

    def __init__(self, vectors: Halves) -> None:
        count, dimension = vectors.shape
        self._index: Any = faiss.IndexScalarQuantizer(
            dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        )
        self._index.is_trained = True
        self.vectors: Halves = np.empty((0, dimension), np.float16)
        """The index's own memory, valid as long as this object holds them."""
        if count:
            self.refill(vectors)

    def refill(self, vectors: Halves) -> None:
        """Hold these, at least one, in place of the others and in their memory."""
        self._index.reset()
        self._index.add_sa_codes(np.ascontiguousarray(vectors).view(np.uint8))
        codes = faiss.rev_swig_ptr(self._index.codes.data(), 2 * vectors.size)
        self.vectors = codes.view(np.float16).reshape(vectors.shape)

    def search(
        self, query: NDArray[np.float32], count: int, selector: Selector | None
    ) -> tuple[Ids, Scores]:
        """Rows of the `count` highest inner products with (d,), best first, and the products."""
        params = None if selector is None else faiss.SearchParameters(sel=selector.faiss)
        with threads(1):
            scores, rows = self._index.search(query[None], count, params=params)
        found = rows[0] >= 0
        return rows[0][found], scores[0][found]


class AnnIndex:
    """An approximate index over the rows of a snapshot. Immutable once it serves."""

    def __init__(self, index: Any, kind: Kind) -> None:
        self._index = index
        self._kind = kind

    @classmethod
    def train(cls, plan: Plan, sample: Vectors, *, threads_count: int) -> AnnIndex:
        """Make an empty index of `plan` whose codes are learned from `sample`."""
        index = faiss.index_factory(sample.shape[1], plan.factory, faiss.METRIC_INNER_PRODUCT)
        if plan.kind is Kind.IVF:
            index.cp.min_points_per_centroid = 1  # else it warns on stderr below 39
        with threads(threads_count):
            index.train(sample)
        return cls(index, plan.kind)

    @classmethod
    def open(cls, path: Path, kind: Kind, *, mapped: bool = True) -> AnnIndex:
        """Read an index; `mapped` shares its pages with other processes, and forbids `add`."""
        flags = faiss.IO_FLAG_MMAP_IFC if mapped else 0
        return cls(faiss.read_index(str(path), flags), kind)

    def write(self, path: Path) -> None:
        faiss.write_index(self._index, str(path))

    def add(self, vectors: Vectors, *, threads_count: int) -> None:
        """Append rows; before the index serves."""
        with threads(threads_count):
            self._index.add(vectors)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def least_effort(self, candidates: int) -> int:
        """Effort below which so many candidates cannot come back, or only the wrong ones."""
        if self._kind is Kind.HNSW:
            return candidates
        lists = int(self._index.nlist)
        return min(math.ceil(ROWS_PER_CANDIDATE * candidates * lists / len(self)), lists)

    def effort_for_share(self, effort: int, share: float) -> int:
        """Effort that finds as much when only `share` of the rows may be found."""
        limit = len(self) if self._kind is Kind.HNSW else int(self._index.nlist)
        return min(math.ceil(effort / share), limit)

    def search(self, queries: Vectors, count: int, effort: int, selector: Selector | None) -> Ids:
        """Rows (n, count) near each query, in no promised order; -1 where none was found.

        `effort` is efSearch of a graph, nprobe of inverted lists.
        """
        sel = None if selector is None else selector.faiss
        params = self._parameters(effort, sel)
        with threads(1):
            _, rows = self._index.search(queries, count, params=params)
        return np.asarray(rows, dtype=np.int64)

    def _parameters(self, effort: int, sel: Any) -> Any:
        if self._kind is Kind.HNSW:
            return faiss.SearchParametersHNSW(efSearch=effort, sel=sel)
        return faiss.SearchParametersIVF(nprobe=effort, sel=sel)
