"""The default store: a log-structured set of vectors over FAISS indexes and snapshots on disk."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from search.index.stores.base import (
    SCAN_BATCH,
    Ids,
    IdSet,
    Matches,
    Scores,
    StoreError,
    StoreStats,
    Vectors,
)
from search.index.stores.faiss import compaction, searching, tuning
from search.index.stores.faiss.efforts import Efforts
from search.index.stores.faiss.frozen import State
from search.index.stores.faiss.plan import Plan, plan_index
from search.index.stores.faiss.segment import Segment
from search.index.stores.faiss.snapshot import Snapshot, SnapshotDirectory
from search.index.stores.faiss.staging import Writer
from search.index.stores.replica import Replica, Tuning

if TYPE_CHECKING:
    from django.core.checks import CheckMessage

logger = logging.getLogger(__name__)


class FaissStore(Replica):
    """Main segment (a snapshot, memory-mapped) + delta (in memory, exact) + tombstones.

    It starts empty; the first `refresh` stages the newest snapshot of `directory`. `key` says
    whose vectors these are (space and modality): a snapshot of another key is never used.
    Searching needs no lock; `upsert`, `remove`, `reset`, `refresh` and `commit` belong to one
    thread at a time; `compact` may run in another.
    """

    def __init__(
        self,
        dimension: int,
        directory: Path,
        *,
        key: str,
        target_recall: float = 0.99,
        memory_mb: float | None = None,
        exact_rows: int | None = None,
    ) -> None:
        super().__init__(dimension)
        self._directory = SnapshotDirectory(directory, key=key, dimension=dimension)
        self._key = key
        self._target_recall = target_recall
        self._memory_mb = memory_mb
        self._exact_rows = exact_rows
        self._lock = threading.Lock()  # over the four below; held briefly, never by a search
        self._writer = Writer(Segment.empty(dimension))
        self._state = self._writer.freeze(0)
        self._clean = True  # nothing is staged
        self._dropped = False  # the writer's rows went with a rollback
        self._stamp: tuple[int, int] | None = None  # of the manifest last looked at
        self._efforts = Efforts(directory)

    # What is staged

    def upsert(self, ids: Ids, vectors: Vectors) -> None:
        halves = self._to_store(ids, vectors)
        with self._lock:
            self._writer.upsert(ids, halves)
            self._clean = False

    def remove(self, ids: Ids) -> None:
        with self._lock:
            self._writer.remove(ids)
            self._clean = False

    def reset(self) -> None:
        with self._lock:
            self._writer = Writer(Segment.empty(self.dimension))
            self._clean = False

    def refresh(self) -> int | None:
        stamp = self._directory.stamp()
        if not self._dropped and (stamp is None or stamp == self._stamp):
            return None
        segment = self._newest_segment()
        with self._lock:
            self._stamp = stamp
            if segment is None:
                return 0 if self._dropped else None
            if segment.snapshot == self._writer.segment.snapshot and not self._dropped:
                return None
            self._efforts.read()
            self._writer = Writer(segment)
            self._clean = False
        return segment.position

    def commit(self, position: int) -> None:
        with self._lock:
            self._state = self._writer.freeze(position)
            self._clean = True
            self._dropped = False

    def rollback(self) -> None:
        with self._lock:
            if self._clean and not self._dropped:
                return
            # What was staged cannot be told from what was committed: begin at a snapshot again.
            self._writer = Writer(Segment.empty(self.dimension))
            self._clean = False
            self._dropped = True

    # What readers see

    def position(self) -> int:
        return self._state.position

    def search(self, vectors: Vectors, k: int, *, allowed: IdSet | None = None) -> list[Matches]:
        state = self._state
        effort = self._efforts[state.segment.kind]
        queries = self._to_search(vectors)
        return searching.search(state, queries, k, allowed=allowed, effort=effort)

    def ids(self) -> Ids:
        return self._state.live_ids()

    def holds(self, ids: Ids) -> NDArray[np.bool_]:
        return self._state.holds(ids)

    def scan(self) -> Iterator[tuple[Ids, Vectors]]:
        state = self._state
        ids = state.live_ids()
        for start in range(0, ids.size, SCAN_BATCH):
            part = ids[start : start + SCAN_BATCH]
            yield part, state.fetch(part).astype(np.float32)

    def fetch(self, ids: Ids) -> Vectors:
        return self._state.fetch(ids).astype(np.float32)

    def scores(self, vector: NDArray[np.float32], ids: Ids) -> Scores:
        return searching.scores(self._state, self._to_search(vector[np.newaxis])[0], ids)

    def sample(self) -> Vectors:
        return self._state.sample

    def __len__(self) -> int:
        return self._state.count

    def stats(self) -> StoreStats:
        state = self._state
        segment, kept = state.segment, self._kept_snapshots()
        return StoreStats(
            kind=segment.kind.value,
            count=state.count,
            delta=len(state.delta_live),
            dead=len(segment) + len(state.delta_live) - state.count,
            effort=self._efforts[segment.kind],
            bytes_per_vector=state.bytes_per_vector,
            snapshot_position=segment.position,
            oldest_position=min((snapshot.position for snapshot in kept), default=0),
        )

    def check(self) -> list[CheckMessage]:
        from django.core.checks import Error

        path = self._directory.path
        if path.exists() and not path.is_dir():
            hint = "Move the file away, or set MMSEARCH_DATA_DIR to another folder."
            return [Error(f"{path} is not a folder.", hint=hint, id="search.E001")]
        return []

    def verify(self) -> list[str]:
        try:
            snapshots = self._directory.snapshots()
        except StoreError as exc:
            return [str(exc)]
        return [
            damage
            for snapshot in snapshots
            for damage in self._directory.damage(snapshot, full=True)
        ]

    # Compaction

    def needs_compaction(self) -> bool:
        state = self._state
        plan = self._plan(state)
        return compaction.worth_compacting(state, plan, exact_rows=self._exact_rows)

    def compact(self, *, threads: int = 1) -> bool:
        with self._directory.building() as folder:
            if folder is None:
                return False
            state = self._state
            plan = self._plan(state)
            written = compaction.write(state, folder, plan, threads=threads)
            snapshot = self._describe(state, folder, plan, written)
            segment = Segment.open(self._directory, snapshot)
            return self._install(segment, snapshot, state)

    def _plan(self, state: State) -> Plan:
        return plan_index(
            count=state.count,
            dimension=self.dimension,
            memory_mb=self._memory_mb,
            present=state.segment.kind,
            exact_rows=self._exact_rows,
        )

    def _describe(
        self, state: State, folder: Path, plan: Plan, written: compaction.Written
    ) -> Snapshot:
        return Snapshot(
            folder=folder.name,
            key=self._key,
            dimension=self.dimension,
            position=state.position,
            rows=written.rows,
            count=state.count,
            trained_rows=written.trained_rows,
            kind=plan.kind.value,
            factory=plan.factory,
            files=self._directory.seal(folder),
        )

    def _install(self, segment: Segment, snapshot: Snapshot, compacted: State) -> bool:
        """Publish and serve a finished snapshot, unless its base was abandoned meanwhile."""
        with self._lock:
            if self._writer.lineage is not compacted.lineage:
                return False
            # Read anew from the database: what was there before was damaged, or foreign, or wrong.
            self._directory.publish(snapshot, alone=compacted.segment.snapshot is None)
            self._stamp = self._directory.stamp()
            self._writer = self._writer.rebase(segment, compacted)
            if self._clean:
                self._state = self._writer.freeze(self._state.position)
        return True

    # Recall

    def measure_recall(self, queries: Vectors, k: int = 10) -> float:
        state = self._state
        effort = self._efforts[state.segment.kind]
        recall = tuning.measure_recall(state, self._to_search(queries), k, effort=effort)
        state.segment.let_go_of_pages()
        return recall

    def tune(self, *groups: Vectors, k: int = 10) -> Tuning:
        state = self._state
        kind, queries = state.segment.kind, tuple(self._to_search(group) for group in groups)
        self._efforts.read()  # another process may have tuned meanwhile
        previous = self._efforts[kind]
        found = tuning.tune(state, queries, k, previous=previous, target=self._target_recall)
        state.segment.let_go_of_pages()
        self._efforts.keep(kind, found.effort)
        if found.effort != previous:
            logger.info(
                "index effort moved from %d to %d: recall@%d %.4f, target %.4f",
                previous, found.effort, k, found.recall, self._target_recall,
            )  # fmt: skip
        return found

    # Snapshots

    def _newest_segment(self) -> Segment | None:
        """The newest snapshot that can be opened; what cannot is logged and passed over."""
        for snapshot in self._kept_snapshots():
            if snapshot == self._writer.segment.snapshot:
                return self._writer.segment
            try:
                return Segment.open(self._directory, snapshot)
            except StoreError as exc:
                logger.error("snapshot refused: %s", exc)  # noqa: TRY400 - the message says it
        return None

    def _kept_snapshots(self) -> list[Snapshot]:
        try:
            return self._directory.snapshots()
        except StoreError as exc:
            logger.error("snapshots refused: %s", exc)  # noqa: TRY400 - the message says it
            return []
