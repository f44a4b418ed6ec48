"""What every vector store is: one set of (id, vector) pairs, searched by inner product."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from django.core.checks import CheckMessage

Ids: TypeAlias = NDArray[np.int64]
"""int64 (n,)."""
Vectors: TypeAlias = NDArray[np.float32]
"""float32 (n, d), every row L2-normalised."""
Halves: TypeAlias = NDArray[np.float16]
"""float16 (n, d): vectors as every store keeps them."""
Scores: TypeAlias = NDArray[np.float32]
"""float32 (n,), inner products of the query with the stored (float16) vectors."""

T = TypeVar("T")

SAMPLE: Final = 1024
"""Vectors of :meth:`VectorStore.sample` at most."""
SCAN_BATCH: Final = 10_000
"""Vectors of :meth:`VectorStore.scan` at a time, at most."""


class StoreError(Exception):
    """A vector store cannot do what was asked; the message names the mend."""


class IdSet:
    """Ids that a search is limited to. Immutable.

    What a store derives from them, such as a bitmap of its rows, is kept beside them for as long
    as what it was derived for lives: whoever keeps the set saves the work.
    """

    def __init__(self, ids: Ids) -> None:
        """`ids` ascending and unique."""
        self.ids = ids
        self._derived: WeakKeyDictionary[object, object] = WeakKeyDictionary()

    def derived(self, owner: object, make: Callable[[Ids], T]) -> T:
        """What `make` made of the ids for `owner`, which it must not refer to."""
        if (found := self._derived.get(owner)) is None:
            found = self._derived[owner] = make(self.ids)
        return found  # type: ignore[return-value]  # one owner, one kind of thing


@dataclasses.dataclass(frozen=True)
class Matches:
    """The nearest vectors of one query, best first; equal scores in ascending id order."""

    ids: Ids
    scores: Scores


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoreStats:
    """What a store holds and how it answers, for operators."""

    kind: str
    """How the bulk of the vectors is searched: ``exact``, ``hnsw`` or ``ivf``."""
    count: int
    """Live vectors."""
    delta: int = 0
    """Rows added since the snapshot, dead ones included; searched exactly."""
    dead: int = 0
    """Rows removed or replaced that still take space."""
    effort: int = 0
    """efSearch (hnsw) or nprobe (ivf) in use; 0 where the search is exact."""
    bytes_per_vector: float
    """Memory that answering takes, index and ids, without the float16 file it re-ranks from."""
    snapshot_position: int = 0
    """Change-log position of the open snapshot; 0 without one."""
    oldest_position: int = 0
    """Position of the oldest snapshot kept: the change log is needed from here on."""


def sample_order(ids: Ids) -> NDArray[np.uint64]:
    """A number for each id, as good as random: a sample is the ids of the lowest."""
    mixed = ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    return np.asarray(mixed ^ (mixed >> np.uint64(32)), dtype=np.uint64)


class VectorStore(ABC):
    """The vectors of one space and one modality, keyed by item primary key: what a search asks.

    One writer at a time, many readers. Vectors are kept as float16. A score is the inner product of
    query and stored vector, summed in float64 and rounded once, so that every store gives the same
    score whatever its layout.
    """

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension

    @abstractmethod
    def apply(self, position: int, ids: Ids, vectors: Vectors, removed: Ids) -> None:
        """Take over what the change log says up to `position`; applied twice, nothing changes.

        ids int64 (n,), unique: what is there of them is replaced. Unknown ids to remove are
        ignored. Raises StoreError where the dimension differs.
        """

    @abstractmethod
    def position(self) -> int:
        """Change-log position of what readers see."""

    @abstractmethod
    def search(self, vectors: Vectors, k: int, *, allowed: IdSet | None = None) -> list[Matches]:
        """Find the `k` vectors of highest inner product for every row of `vectors`.

        `allowed` limits the answer to those ids: the filter holds inside the search, so
        min(k, matching) results always come back. One Matches a row.
        """

    @abstractmethod
    def fetch(self, ids: Ids) -> Vectors:
        """The vectors of `ids`, in that order. Raises StoreError where one is absent."""

    @abstractmethod
    def scores(self, vector: NDArray[np.float32], ids: Ids) -> Scores:
        """Inner products of one query, float32 (d,), with the vectors of `ids`, in that order.

        NaN where an id has no vector.
        """

    @abstractmethod
    def sample(self) -> Vectors:
        """Vectors that stand for all: those of the SAMPLE ids that `sample_order` puts first.

        The same in every process, and every store, that sees the same vectors.
        """

    @abstractmethod
    def __len__(self) -> int:
        """Count of live vectors."""

    @abstractmethod
    def stats(self) -> StoreStats:
        """What readers see now."""

    @abstractmethod
    def check(self) -> list[CheckMessage]:
        """System-check messages about this store's configuration."""

    @abstractmethod
    def scan(self) -> Iterator[tuple[Ids, Vectors]]:
        """Everything that readers see, ascending by id, in batches: for maintenance alone."""

    def _to_store(self, ids: Ids, vectors: Vectors) -> Halves:
        """Vectors as they are kept. Raises StoreError where they cannot be stored."""
        if vectors.ndim != 2 or vectors.shape[1] != self.dimension:
            raise StoreError(
                f"Vectors of shape {vectors.shape} do not fit a store of dimension "
                f"{self.dimension}: embed with the model of this space, or open another space."
            )
        if ids.shape != vectors.shape[:1]:
            raise StoreError(f"{ids.size} ids for {len(vectors)} vectors: give one id a vector.")
        if np.unique(ids).size != ids.size:
            raise StoreError("An id occurs twice in one batch: keep its last vector only.")
        halves = vectors.astype(np.float16)
        if not np.isfinite(halves).all():
            raise StoreError("A vector holds NaN or infinity: embed its item again.")
        return halves

    def _to_search(self, vectors: Vectors) -> Vectors:
        """Queries as float32 (n, d), contiguous. Raises StoreError where the shape differs."""
        if vectors.ndim != 2 or vectors.shape[1] != self.dimension:
            raise StoreError(
                f"Queries of shape {vectors.shape} cannot be asked of a store of dimension "
                f"{self.dimension}: encode them with the model of this space."
            )
        return np.ascontiguousarray(vectors, dtype=np.float32)
