"""What a store is besides that lives in this process: filled from the database, kept on disk."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from search.index.stores.base import Ids, Vectors, VectorStore


@dataclasses.dataclass(frozen=True)
class Tuning:
    """Outcome of measuring, and where needed moving, the operating point."""

    recall: float
    """recall@k of the live index against exact search, at the effort now in use; that of the worst
    group of queries."""
    effort: int
    previous_effort: int


class Replica(VectorStore):
    """A store that every process has for itself.

    `upsert`, `remove`, `reset` and `refresh` are staged and become visible together at `commit`,
    which swaps one immutable reference; `search` works on the reference that was current when it
    began and needs no lock.
    """

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
    def rollback(self) -> None:
        """Drop everything staged since the last commit; readers see what they saw.

        The next :meth:`refresh` says from where the changes must be staged again.
        """

    @abstractmethod
    def ids(self) -> Ids:
        """Every live id, ascending."""

    @abstractmethod
    def holds(self, ids: Ids) -> NDArray[np.bool_]:
        """Which of `ids` have a vector, bool (n,)."""

    def apply(self, position: int, ids: Ids, vectors: Vectors, removed: Ids) -> None:
        self.upsert(ids, vectors)
        self.remove(removed)
        self.commit(position)

    def refresh(self) -> int | None:
        """Stage the newest usable snapshot, if another than the open one is there.

        Returns its position: the caller stages every later change and commits, and until then
        readers see what they saw. Changes staged but not committed before are dropped (the
        caller's replay brings them again). None where there is nothing newer: go on from
        :meth:`position`; 0 where all must be read anew. Cheap enough to call before every catch-up.
        """
        return None

    def needs_compaction(self) -> bool:
        """Whether :meth:`compact` is worth its cost now."""
        return False

    def compact(self, *, threads: int = 1) -> bool:
        """Write what readers see as a new snapshot and serve from it.

        Runs for minutes on a large store, beside searches and the writer. False where it was
        given up: another process is at it, or the store was reset meanwhile.
        """
        del threads
        return False

    def measure_recall(self, queries: Vectors, k: int = 10) -> float:
        """Share of the exact `k` nearest that :meth:`search` finds, over all `queries`."""
        del queries, k
        return 1.0

    def tune(self, *groups: Vectors, k: int = 10) -> Tuning:
        """Set the least effort that reaches the target recall on each group of queries.

        It outlives the snapshot and the process.
        """
        del groups, k
        return Tuning(recall=1.0, effort=0, previous_effort=0)

    def verify(self) -> list[str]:
        """Read everything on disk and name what is damaged; empty when all is well."""
        return []
