"""What every vector store is: one set of (id, vector) pairs, searched by inner product."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from django.core.checks import CheckMessage

Ids: TypeAlias = NDArray[np.int64]
"""int64 (n,)."""
Vectors: TypeAlias = NDArray[np.float32]
"""float32 (n, d), every row L2-normalised."""
Scores: TypeAlias = NDArray[np.float32]
"""float32 (n,), inner products."""


class StoreError(Exception):
    """A vector store cannot do what was asked; the message names the mend."""


@dataclasses.dataclass(frozen=True)
class Matches:
    """The nearest vectors of one query, best first; equal scores in ascending id order."""

    ids: Ids
    scores: Scores


class VectorStore(ABC):
    """The vectors of one space and one modality, keyed by item primary key.

    One writer, many readers: `upsert`, `remove` and `reset` are staged and become visible
    together at `commit`, which swaps one immutable reference; `search` works on the reference
    that was current when it began and needs no lock.
    """

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension

    @abstractmethod
    def upsert(self, ids: Ids, vectors: Vectors) -> None:
        """Stage vectors; an id already present is replaced. ids int64 (n,), unique.

        Raises StoreError where the dimension differs.
        """

    @abstractmethod
    def remove(self, ids: Ids) -> None:
        """Stage removals; unknown ids are ignored."""

    @abstractmethod
    def commit(self, position: int) -> None:
        """Make everything staged visible at once and remember the change-log position."""

    @abstractmethod
    def reset(self) -> None:
        """Stage an empty store at position 0."""

    @abstractmethod
    def position(self) -> int:
        """Change-log position of what readers see."""

    @abstractmethod
    def search(
        self, vectors: Vectors, k: int, *, allowed_ids: Ids | None = None
    ) -> list[Matches]:
        """Find the `k` vectors of highest inner product for every row of `vectors`.

        `allowed_ids` (sorted, unique) limits the answer to those ids: the filter holds inside
        the search, so min(k, matching) results always come back. One Matches a row.
        """

    @abstractmethod
    def ids(self) -> Ids:
        """Every live id, ascending."""

    @abstractmethod
    def fetch(self, ids: Ids) -> Vectors:
        """The vectors of `ids`, in that order. Raises StoreError where one is absent."""

    @abstractmethod
    def mean(self) -> NDArray[np.float32]:
        """Sum of all live vectors over (count + MEAN_PRIOR): the modality's centre, float32 (d,).

        The prior keeps the centre of a nearly empty store near zero.
        """

    @abstractmethod
    def __len__(self) -> int:
        """Count of live vectors."""

    @abstractmethod
    def check(self) -> list[CheckMessage]:
        """System-check messages about this store's configuration."""
