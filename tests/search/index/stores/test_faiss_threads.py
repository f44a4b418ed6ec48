"""Searching threads beside a writer that commits and another that compacts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from search.index.stores.base import IdSet
from search.index.stores.faiss import plan
from search.index.stores.faiss.store import FaissStore
from tests.search.index.stores.clusters import clustered

DIMENSION = 24
ROUNDS = 12
BATCH = 150
IDS = np.arange(BATCH * (ROUNDS + 2))
VECTORS = clustered(len(IDS), DIMENSION, seed=1)


class Crowd:
    """Threads that repeat something until told to stop; what they raise is kept."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.failures: list[BaseException] = []
        self._threads: list[threading.Thread] = []

    def start(self, action: Callable[[], object]) -> None:
        def repeat() -> None:
            try:
                while not self.done.is_set():
                    action()
            except BaseException as exc:  # noqa: BLE001 - whatever it is, the test must hear of it
                self.failures.append(exc)

        self._threads.append(threading.Thread(target=repeat))
        self._threads[-1].start()

    def stop(self) -> None:
        self.done.set()
        for thread in self._threads:
            thread.join()


class Reader:
    """Searches, and checks that an answer is of one commit that was current meanwhile.

    After commit n the store holds batches n and n + 1. `commits` is read before and after the
    search; the writer may have made one commit that it has not yet written down.
    """

    def __init__(self, store: FaissStore, commits: list[int], seed: int) -> None:
        self._store = store
        self._commits = commits
        self._generator = np.random.default_rng(seed)

    def __call__(self) -> None:
        query = VECTORS[self._generator.integers(len(VECTORS), size=1)]
        chosen = np.flatnonzero(self._generator.random(len(IDS)) < 0.5)
        allowed = chosen if self._generator.random() < 0.5 else None
        before = self._commits[-1]
        (match,) = self._store.search(
            query, 20, allowed=None if allowed is None else IdSet(allowed)
        )
        seen = set((match.ids // BATCH).tolist())
        possible = [{n, n + 1} for n in range(before, self._commits[-1] + 2)]
        assert any(seen <= pair for pair in possible), (seen, possible)
        assert match.ids.size == 20
        assert allowed is None or np.isin(match.ids, allowed).all()


def test_searches_beside_commits_and_compactions_see_whole_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "EXACT_ROWS", 200)
    monkeypatch.setattr(plan, "ROWS_PER_EFFORT", 1)
    store = FaissStore(DIMENSION, tmp_path, key="space/image")
    store.upsert(IDS[: 2 * BATCH], VECTORS[: 2 * BATCH])
    store.commit(0)
    commits, crowd = [0], Crowd()
    for seed in range(3):
        crowd.start(Reader(store, commits, seed))
    crowd.start(store.compact)
    for number in range(1, ROUNDS + 1):
        added = slice((number + 1) * BATCH, (number + 2) * BATCH)
        store.upsert(IDS[added], VECTORS[added])
        store.remove(IDS[(number - 1) * BATCH : number * BATCH])
        store.commit(number)
        commits.append(number)
        crowd.done.wait(0.05)
    crowd.stop()
    assert crowd.failures == []
    last = IDS[ROUNDS * BATCH :]
    assert store.ids().tolist() == last.tolist()
    assert store.fetch(last).tolist() == VECTORS[last].astype(np.float16).tolist()
