"""Any sequence of operations leaves the FAISS store equal to the oracle."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from search.index.stores.base import IdSet
from search.index.stores.faiss import frozen, plan, staging
from search.index.stores.faiss.store import FaissStore
from search.index.stores.replica import Replica
from tests.numpy_store import NumpyStore
from tests.search.index.stores.clusters import clustered

DIMENSION = 8
ids_of_items = st.lists(st.integers(0, 60), min_size=1, max_size=25, unique=True)
seeds = st.integers(0, 5)


class StoreMachine(RuleBasedStateMachine):
    """Drives both stores alike; remembers what was committed at each position, as the log does."""

    @initialize()
    def start(self) -> None:
        self.directory = Path(tempfile.mkdtemp())
        self.store: FaissStore = self._new_store()
        self.oracle = NumpyStore(DIMENSION)
        self.committed: dict[int, dict[int, list[float]]] = {0: {}}
        self.next_position = 1

    def teardown(self) -> None:
        if hasattr(self, "directory"):
            shutil.rmtree(self.directory)

    def _new_store(self) -> FaissStore:
        return FaissStore(DIMENSION, self.directory, key="space/image")

    @rule(ids=ids_of_items, seed=seeds)
    def upsert(self, ids: list[int], seed: int) -> None:
        vectors = clustered(len(ids), DIMENSION, seed=seed, topics=4)
        for each in (self.store, self.oracle):
            each.upsert(np.array(ids), vectors)

    @rule(ids=ids_of_items)
    def remove(self, ids: list[int]) -> None:
        for each in (self.store, self.oracle):
            each.remove(np.array(ids))

    @rule()
    def reset(self) -> None:
        for each in (self.store, self.oracle):
            each.reset()

    @rule()
    def commit(self) -> None:
        for each in (self.store, self.oracle):
            each.commit(self.next_position)
        self.committed[self.next_position] = contents(self.oracle)
        self.next_position += 1

    @rule()
    def compact(self) -> None:
        lineage_kept = self.store._writer.lineage is self.store._state.lineage
        assert self.store.compact(threads=1) is lineage_kept

    @rule()
    def restart(self) -> None:
        """A new process: the snapshot, then what the log says came later."""
        self.store = self._new_store()
        position = self.store.refresh() or 0
        self.store.commit(position)
        assert contents(self.store) == self.committed[position]
        self._replay(position)

    @rule()
    def refresh(self) -> None:
        """The other process' snapshot; here it drops what is staged, and the replay is ours."""
        position = self.store.refresh()
        if position is None:
            return
        self._replay(position)

    def _replay(self, position: int) -> None:
        then, now = self.committed[position], contents(self.oracle)
        changed = sorted(key for key in then | now if then.get(key) != now.get(key))
        gone = np.array([key for key in changed if key not in now], dtype=np.int64)
        kept = np.array([key for key in changed if key in now], dtype=np.int64)
        self.store.remove(gone)
        self.store.upsert(kept, self.oracle.fetch(kept))
        self.store.commit(self.oracle.position())
        ids = self.oracle.ids()
        self.oracle.reset()
        self.oracle.upsert(ids, self.oracle.fetch(ids))

    @rule(seed=seeds, k=st.integers(1, 70), allowed=st.none() | ids_of_items)
    def search(self, seed: int, k: int, allowed: list[int] | None) -> None:
        queries = clustered(2, DIMENSION, seed=seed, topics=4)
        chosen = None if allowed is None else IdSet(np.array(sorted(allowed), dtype=np.int64))
        ours = self.store.search(queries, k, allowed=chosen)
        theirs = self.oracle.search(queries, k, allowed=chosen)
        for mine, truth in zip(ours, theirs, strict=True):
            assert mine.ids.tolist() == truth.ids.tolist()
            assert mine.scores.tolist() == truth.scores.tolist()

    @invariant()
    def both_hold_the_same(self) -> None:
        if not hasattr(self, "store"):
            return
        assert contents(self.store) == contents(self.oracle)
        assert len(self.store) == len(self.oracle)
        assert self.store.position() == self.oracle.position()
        assert self.store.sample().tolist() == self.oracle.sample().tolist()


def contents(store: Replica) -> dict[int, list[float]]:
    ids = store.ids()
    return dict(zip(ids.tolist(), store.fetch(ids).tolist(), strict=True))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("exact_rows", [1000, 8])
def test_any_history_leaves_the_store_equal_to_the_oracle(
    monkeypatch: pytest.MonkeyPatch, exact_rows: int
) -> None:
    """With 8, larger stores get a graph, which so small finds every vector."""
    options: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}
    monkeypatch.setattr(plan, "EXACT_ROWS", exact_rows)
    monkeypatch.setattr(plan, "ROWS_PER_EFFORT", 0)
    monkeypatch.setattr(frozen, "DELTA_BLOCK_ROWS", 16)
    monkeypatch.setattr(staging, "DELTA_BLOCK_ROWS", 16)
    run_state_machine_as_test(
        StoreMachine, settings=settings(max_examples=25, stateful_step_count=25, **options)
    )
