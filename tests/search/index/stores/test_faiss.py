from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.index.stores.base import Ids, IdSet, Vectors
from search.index.stores.faiss import compaction, plan
from search.index.stores.faiss.blocks import ExactBlock
from search.index.stores.faiss.store import FaissStore
from search.index.stores.replica import Replica
from tests.numpy_store import NumpyStore
from tests.search.index.stores.clusters import clustered, keys
from tests.search.index.stores.contract import DIMENSION, StoreContract

ROWS = 3000
KEY = "space/image"


class ReplicaContract(StoreContract):
    """What a store in this process promises besides: changes are staged, and come together."""

    def test_changes_are_seen_only_after_commit(self, store: Replica) -> None:
        vectors = clustered(2, DIMENSION, seed=8)
        store.upsert(keys(1), vectors[:1])
        assert len(store) == 0
        store.commit(5)
        store.upsert(keys(2), vectors[1:])
        store.remove(keys(1))
        assert store.ids().tolist() == [1]
        assert store.position() == 5
        store.commit(9)
        assert store.ids().tolist() == [2]
        assert store.position() == 9

    def test_the_last_of_several_staged_changes_counts(self, store: Replica) -> None:
        vectors = clustered(3, DIMENSION, seed=10)
        store.upsert(keys(1, 2), vectors[:2])
        store.remove(keys(1, 1))
        store.upsert(keys(2), vectors[2:])
        store.commit(1)
        assert store.ids().tolist() == [2]
        assert store.fetch(keys(2)).tolist() == vectors[2:].astype(np.float16).tolist()

    def test_reset_stages_an_empty_store(self, store: Replica) -> None:
        vectors = clustered(2, DIMENSION, seed=12)
        store.upsert(keys(1), vectors[:1])
        store.commit(3)
        store.reset()
        store.upsert(keys(2), vectors[1:])
        assert store.ids().tolist() == [1]
        store.commit(0)
        assert store.ids().tolist() == [2]
        assert store.position() == 0

    def test_it_knows_what_it_holds(self, store: Replica) -> None:
        store.apply(1, keys(3, 5), clustered(2, DIMENSION, seed=13), keys())
        store.apply(2, keys(8), clustered(1, DIMENSION, seed=14), keys(5))
        assert store.holds(keys(1, 3, 5, 8, 9)).tolist() == [False, True, False, True, False]
        assert store.holds(keys()).tolist() == []

    def test_recall_and_files_of_a_few_are_perfect(self, store: Replica) -> None:
        store.apply(1, np.arange(6), clustered(6, DIMENSION, seed=19), keys())
        assert store.measure_recall(clustered(4, DIMENSION, seed=20)) == 1.0
        assert store.verify() == []


class TestNumpyStore(ReplicaContract):
    @pytest.fixture
    def store(self) -> Replica:
        return NumpyStore(DIMENSION)


class TestFaissStore(ReplicaContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Replica:
        return FaissStore(DIMENSION, tmp_path / "vectors", key=KEY)


class CompactingStore(FaissStore):
    """Compacts at every commit, so that segments keep the contract too."""

    def commit(self, position: int) -> None:
        super().commit(position)
        assert self.compact()


class TestCompactedFaissStore(ReplicaContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Replica:
        return CompactingStore(DIMENSION, tmp_path / "vectors", key=KEY)


@pytest.fixture(params=["hnsw", "ivf"])
def approximate(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Small stores get an approximate index and use it; options for the store."""
    monkeypatch.setattr(plan, "EXACT_ROWS", 500)
    monkeypatch.setattr(plan, "ROWS_PER_EFFORT", 1)
    return {"memory_mb": None if request.param == "hnsw" else 0.01}


@pytest.fixture
def pair(tmp_path: Path, approximate: dict[str, Any]) -> tuple[FaissStore, NumpyStore]:
    """A compacted approximate store, and the oracle with the same vectors: even ids."""
    store, oracle = FaissStore(DIMENSION, tmp_path, key=KEY, **approximate), NumpyStore(DIMENSION)
    for each in (store, oracle):
        each.upsert(np.arange(ROWS) * 2, clustered(ROWS, DIMENSION, seed=1))
        each.commit(1)
    assert store.compact()
    assert store.stats().kind == ("hnsw" if approximate["memory_mb"] is None else "ivf")
    return store, oracle


def recall(store: Replica, oracle: Replica, k: int, allowed_ids: Ids | None) -> float:
    """Recall over 100 queries; every answer must be full, allowed, and scored exactly."""
    queries = clustered(100, DIMENSION, seed=99)
    allowed = None if allowed_ids is None else IdSet(allowed_ids)
    live = oracle.ids() if allowed_ids is None else np.intersect1d(oracle.ids(), allowed_ids)
    found = 0
    for query, match, truth in zip(
        queries,
        store.search(queries, k, allowed=allowed),
        oracle.search(queries, k, allowed=allowed),
        strict=True,
    ):
        assert match.ids.size == min(k, live.size)
        assert np.isin(match.ids, live).all()
        (scored,) = oracle.search(query[None], k, allowed=IdSet(np.sort(match.ids)))
        assert match.ids.tolist() == scored.ids.tolist()
        assert match.scores.tolist() == scored.scores.tolist()
        found += np.intersect1d(match.ids, truth.ids).size
    return found / (100 * min(k, live.size))


def test_an_index_finds_what_the_oracle_finds(pair: tuple[FaissStore, NumpyStore]) -> None:
    assert recall(*pair, 10, None) >= 0.97


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.3, 0.6, 0.95])
def test_recall_holds_under_filters_of_any_width(
    pair: tuple[FaissStore, NumpyStore], share: float
) -> None:
    chosen = np.random.default_rng(5).choice(ROWS, int(ROWS * share), replace=False)
    assert recall(*pair, 10, np.sort(chosen) * 2) >= 0.97


def test_a_filter_far_from_the_query_is_still_answered_in_full(
    pair: tuple[FaissStore, NumpyStore],
) -> None:
    store, oracle = pair
    query = clustered(1, DIMENSION, seed=98)
    (order,) = oracle.search(query, ROWS)
    farthest = np.sort(order.ids[-ROWS // 3 :])
    (match,) = store.search(query, 50, allowed=IdSet(farthest))
    assert match.ids.size == 50
    assert np.isin(match.ids, farthest).all()


def test_k_beyond_the_effort_is_answered_in_full(pair: tuple[FaissStore, NumpyStore]) -> None:
    assert recall(*pair, 700, None) >= 0.97


def test_changes_over_an_index_are_searched_with_it(pair: tuple[FaissStore, NumpyStore]) -> None:
    for each in pair:
        each.upsert(np.arange(0, 1800, 3), clustered(600, DIMENSION, seed=2))  # old and new ids
        each.remove(np.arange(2000, 3000))
        each.commit(2)
    assert recall(*pair, 10, None) >= 0.97
    assert recall(*pair, 10, np.arange(1500, 3500)) >= 0.97


def test_few_changes_are_appended_and_many_dead_rows_rebuild(
    pair: tuple[FaissStore, NumpyStore],
) -> None:
    store, oracle = pair
    rows = []
    for position, replaced in ((2, 300), (3, 200), (4, 2000)):
        for each in pair:
            each.upsert(np.arange(replaced), clustered(replaced, DIMENSION, seed=position))
            each.remove(keys(5990 + position))
            each.commit(position)
        assert store.compact()
        assert store.ids().tolist() == oracle.ids().tolist()
        assert store.sample().tolist() == oracle.sample().tolist()
        assert store.fetch(oracle.ids()).tolist() == oracle.fetch(oracle.ids()).tolist()
        assert recall(store, oracle, 10, None) >= 0.97
        rows.append((store.stats().count, store.stats().dead))
    assert [dead for _, dead in rows] == [151, 351, 0]


def test_a_duplicate_of_many_items_comes_in_id_order(tmp_path: Path) -> None:
    store = FaissStore(DIMENSION, tmp_path, key=KEY)
    vector = clustered(1, DIMENSION, seed=4)
    store.upsert(np.arange(5000)[::-1].copy(), np.repeat(vector, 5000, axis=0))
    store.commit(1)
    (staged,) = store.search(vector, 20)
    assert store.compact()
    (compacted,) = store.search(vector, 20)
    assert staged.ids.tolist() == compacted.ids.tolist() == list(range(20))


def test_of_many_equal_vectors_a_scan_keeps_no_more_than_are_asked_for() -> None:
    ids = np.arange(5_000)[::-1].copy()
    block = ExactBlock.of(ids, np.ones((ids.size, DIMENSION), np.float16))
    query = np.ones(DIMENSION, np.float32)
    near = block.near(query, 7, wanted=ids.size)
    assert ids[near.rows].tolist() == list(range(7))
    assert block.search(query, 7, wanted=ids.size).ids.tolist() == list(range(7))


def test_measuring_recall_keeps_no_page_of_the_vectors(tmp_path: Path) -> None:
    store = FaissStore(DIMENSION, tmp_path, key=KEY, exact_rows=100)
    vectors = clustered(5_000, DIMENSION, seed=4)
    store.upsert(np.arange(5_000), vectors)
    store.commit(1)
    assert store.compact()
    few = IdSet(np.arange(0, 5_000, 10))
    store.search(vectors[:1], 10, allowed=few)
    assert resident_kb("vectors.npy") > 0
    assert store.measure_recall(vectors[:8]) > 0
    assert resident_kb("vectors.npy") == 0


def resident_kb(name: str) -> int:
    """Memory that mapped files of this name take of the process."""
    total, here = 0, False
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        if "-" in line.split(" ", 1)[0]:
            here = line.endswith(f"/{name}")
        elif here and line.startswith("Rss:"):
            total += int(line.split()[1])
    return total


def test_changes_committed_during_a_compaction_survive_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FaissStore(DIMENSION, tmp_path, key=KEY)
    vectors = clustered(6000, DIMENSION, seed=6)
    store.upsert(np.arange(3000), vectors[:3000])
    store.commit(1)
    assert store.compact()
    store.upsert(np.arange(3000, 4000), vectors[3000:4000])
    store.commit(2)
    write = compaction.write

    def write_meanwhile(*args: Any, **kwargs: Any) -> compaction.Written:
        written = write(*args, **kwargs)
        store.upsert(keys(10, 3500, 7000), vectors[4000:4003])
        store.remove(keys(20, 3600))
        store.commit(3)
        store.upsert(keys(8000), vectors[4003:4004])
        store.remove(keys(30))
        return written

    monkeypatch.setattr(compaction, "write", write_meanwhile)
    assert store.compact()
    expected = (set(range(4000)) | {7000}) - {20, 3600}
    assert store.position() == 3
    assert store.ids().tolist() == sorted(expected)
    store.commit(4)
    assert store.ids().tolist() == sorted((expected | {8000}) - {30})
    changed = keys(10, 3500, 7000, 8000)
    assert store.fetch(changed).tolist() == vectors[4000:4004].astype(np.float16).tolist()
    assert store.stats().snapshot_position == 2
    assert store.stats().delta == 4
    assert store.stats().dead == 5


def test_the_memory_that_is_told_is_that_of_the_delta_too(tmp_path: Path) -> None:
    store = FaissStore(DIMENSION, tmp_path, key=KEY)
    assert store.stats().bytes_per_vector == 0
    store.apply(1, keys(1, 2), clustered(2, DIMENSION, seed=8), keys())
    each = 2 * DIMENSION + 8  # float16, and the id
    assert store.stats().bytes_per_vector == each
    assert store.compact()
    store.apply(2, keys(3, 4), clustered(2, DIMENSION, seed=9), keys())
    live = 1 / 8  # whether it is, a bit
    assert store.stats().bytes_per_vector == pytest.approx(each + live / 2)


def test_a_reset_during_a_compaction_gives_it_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FaissStore(DIMENSION, tmp_path, key=KEY)
    store.upsert(keys(1), clustered(1, DIMENSION, seed=7))
    store.commit(1)
    write = compaction.write

    def write_meanwhile(*args: Any, **kwargs: Any) -> compaction.Written:
        store.reset()
        return write(*args, **kwargs)

    monkeypatch.setattr(compaction, "write", write_meanwhile)
    assert not store.compact()
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_compaction_is_worth_it_once_the_delta_or_the_dead_are_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "DELTA_ROWS", 10)
    store = FaissStore(DIMENSION, tmp_path, key=KEY)
    seen = []

    def commit(position: int) -> None:
        store.commit(position)
        seen.append(store.needs_compaction())

    store.upsert(np.arange(10), clustered(10, DIMENSION, seed=8))
    commit(1)
    store.upsert(np.arange(10, 100), clustered(90, DIMENSION, seed=8))
    commit(2)
    assert store.compact()
    commit(2)
    store.remove(np.arange(20))
    commit(3)
    store.remove(np.arange(21))
    commit(4)
    assert seen == [False, True, False, False, True]


def test_another_memory_budget_is_a_reason_to_compact(
    pair: tuple[FaissStore, NumpyStore], tmp_path: Path, approximate: dict[str, Any]
) -> None:
    same, other = approximate["memory_mb"], None if approximate["memory_mb"] else 0.01
    kinds = []
    for memory_mb in (same, other):
        store = FaissStore(DIMENSION, tmp_path, key=KEY, memory_mb=memory_mb)
        assert store.refresh() == 1
        store.commit(1)
        kinds.append((store.stats().kind, store.needs_compaction()))
    assert store.compact()
    kinds.append((store.stats().kind, store.needs_compaction()))
    before, after = ("ivf", "hnsw") if same else ("hnsw", "ivf")
    assert kinds == [(before, False), (before, True), (after, False)]
    assert recall(store, pair[1], 10, None) >= 0.97


def test_tuning_lowers_an_effort_beyond_need(
    pair: tuple[FaissStore, NumpyStore], caplog: pytest.LogCaptureFixture
) -> None:
    store, _ = pair
    kind = plan.Kind(store.stats().kind)
    store._efforts.keep(kind, plan.EFFORTS[kind][-1])
    queries = clustered(100, DIMENSION, seed=97)
    with caplog.at_level(logging.INFO, "search.index.stores.faiss.store"):
        tuning = store.tune(queries)
    assert tuning.effort < tuning.previous_effort
    assert tuning.effort == store.stats().effort
    assert tuning.recall == store.measure_recall(queries) >= 0.99
    assert f"moved from {tuning.previous_effort} to {tuning.effort}" in caplog.text


def test_tuning_raises_the_effort_of_an_index_that_misses(
    pair: tuple[FaissStore, NumpyStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = pair
    kind = plan.Kind(store.stats().kind)
    store._efforts.keep(kind, 1)
    monkeypatch.setitem(plan.EFFORTS, kind, (1, 2, 128))
    monkeypatch.setitem(plan.EXTRA_CANDIDATES, kind, 0)
    queries: Vectors = clustered(100, DIMENSION, seed=96)
    before = store.measure_recall(queries, k=1)
    tuning = store.tune(queries, k=1)
    assert before < 0.99 <= tuning.recall
    assert (tuning.previous_effort, tuning.effort) == (1, 128)


def test_check_names_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    path = tmp_path / "vectors"
    path.write_text("")
    (message,) = FaissStore(DIMENSION, path, key=KEY).check()
    assert message.id == "search.E001"
    assert str(path) in message.msg
