"""What every store promises. Subclassed by the tests of each; `store` is theirs to give."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import pytest

from search.index.stores.base import (
    SAMPLE,
    Ids,
    IdSet,
    StoreError,
    Vectors,
    VectorStore,
    sample_order,
)
from tests.search.index.stores.clusters import clustered, keys

DIMENSION = 24
NOTHING = clustered(0, DIMENSION, seed=0)


class StoreContract(ABC):
    @abstractmethod
    @pytest.fixture
    def store(self) -> VectorStore:
        """An empty store of DIMENSION."""

    def apply(
        self, store: VectorStore, ids: Ids, vectors: Vectors, removed: Ids | None = None
    ) -> None:
        """Commit vectors, as the database does and the change log says."""
        gone = keys() if removed is None else removed
        store.apply(store.position() + 1, ids, vectors, gone)

    def test_a_new_store_is_empty(self, store: VectorStore) -> None:
        assert len(store) == 0
        assert store.position() == 0
        assert contents(store) == {}
        assert store.sample().shape == (0, DIMENSION)
        (match,) = store.search(clustered(1, DIMENSION, seed=1), 5)
        assert match.ids.tolist() == []
        assert match.ids.dtype == np.int64
        assert match.scores.dtype == np.float32

    def test_search_returns_the_nearest_best_first(self, store: VectorStore) -> None:
        vectors = clustered(50, DIMENSION, seed=1)
        self.apply(store, np.arange(100, 150), vectors)
        (match,) = store.search(vectors[7:8], 3)
        scores = vectors.astype(np.float16).astype(np.float64) @ vectors[7].astype(np.float64)
        expected = np.argsort(-scores)[:3]
        assert match.ids.tolist() == (expected + 100).tolist()
        assert match.scores.tolist() == scores[expected].astype(np.float32).tolist()

    def test_search_answers_each_query_in_its_place(self, store: VectorStore) -> None:
        vectors = clustered(20, DIMENSION, seed=2)
        self.apply(store, np.arange(1, 21), vectors)
        assert [match.ids[0] for match in store.search(vectors, 1)] == list(range(1, 21))

    def test_equal_scores_come_in_id_order_even_beyond_k(self, store: VectorStore) -> None:
        vector = clustered(1, DIMENSION, seed=3)
        ids = np.random.default_rng(3).permutation(200) + 1
        self.apply(store, ids, np.repeat(vector, 200, axis=0))
        (match,) = store.search(vector, 5)
        assert match.ids.tolist() == [1, 2, 3, 4, 5]

    def test_k_beyond_the_count_returns_all(self, store: VectorStore) -> None:
        self.apply(store, np.arange(1, 4), clustered(3, DIMENSION, seed=4))
        (match,) = store.search(clustered(1, DIMENSION, seed=5), 10)
        assert sorted(match.ids.tolist()) == [1, 2, 3]

    def test_allowed_ids_limit_the_answer_and_nothing_else(self, store: VectorStore) -> None:
        vectors = clustered(60, DIMENSION, seed=6)
        self.apply(store, np.arange(1, 61), vectors)
        (every,) = store.search(vectors[:1], 60)
        (match,) = store.search(vectors[:1], 5, allowed=IdSet(keys(3, 17, 40, 55, 999)))
        kept = np.isin(every.ids, [3, 17, 40, 55])
        assert match.ids.tolist() == every.ids[kept].tolist()
        assert match.scores.tolist() == every.scores[kept].tolist()

    def test_no_allowed_ids_means_no_answer(self, store: VectorStore) -> None:
        self.apply(store, keys(1), clustered(1, DIMENSION, seed=7))
        (match,) = store.search(clustered(1, DIMENSION, seed=7), 5, allowed=IdSet(keys()))
        assert match.ids.tolist() == []

    def test_what_is_applied_is_seen_at_once_and_its_position_with_it(
        self, store: VectorStore
    ) -> None:
        vectors = clustered(2, DIMENSION, seed=8)
        self.apply(store, keys(1), vectors[:1])
        first = store.position()
        assert list(contents(store)) == [1]
        self.apply(store, keys(2), vectors[1:], removed=keys(1))
        assert list(contents(store)) == [2]
        assert store.position() > first > 0

    def test_what_is_applied_twice_is_there_once(self, store: VectorStore) -> None:
        vectors = clustered(3, DIMENSION, seed=10)
        self.apply(store, keys(1, 9), vectors[:2])
        for _ in range(2):
            self.apply(store, keys(4, 5), vectors[1:], removed=keys(9))
        assert contents(store) == {
            key: vector.astype(np.float16).tolist()
            for key, vector in zip((1, 4, 5), vectors, strict=True)
        }
        (match,) = store.search(vectors[:1], 10)
        assert sorted(match.ids.tolist()) == [1, 4, 5]
        assert len(store) == 3

    def test_a_vector_replaces_that_of_its_id(self, store: VectorStore) -> None:
        vectors = clustered(2, DIMENSION, seed=9)
        self.apply(store, keys(4), vectors[:1])
        self.apply(store, keys(4), vectors[1:])
        assert len(store) == 1
        assert store.fetch(keys(4)).tolist() == vectors[1:].astype(np.float16).tolist()
        (match,) = store.search(vectors[1:], 5)
        assert match.ids.tolist() == [4]
        assert match.scores[0] > 0.99

    def test_removing_an_unknown_id_changes_nothing(self, store: VectorStore) -> None:
        self.apply(store, keys(1), clustered(1, DIMENSION, seed=11), removed=keys(7))
        assert list(contents(store)) == [1]

    def test_everything_can_be_removed(self, store: VectorStore) -> None:
        vectors = clustered(30, DIMENSION, seed=12)
        self.apply(store, np.arange(1, 31), vectors)
        self.apply(store, keys(), NOTHING, removed=np.arange(1, 31))
        assert contents(store) == {}
        assert len(store) == 0
        assert store.search(vectors[:1], 5)[0].ids.tolist() == []

    def test_scan_ascends(self, store: VectorStore) -> None:
        vectors = clustered(3, DIMENSION, seed=21)
        self.apply(store, keys(30, 10), vectors[:2])
        self.apply(store, keys(20), vectors[2:])
        assert list(contents(store)) == [10, 20, 30]

    def test_fetch_keeps_the_order_asked_for(self, store: VectorStore) -> None:
        vectors = clustered(5, DIMENSION, seed=13)
        self.apply(store, np.arange(1, 6), vectors)
        wanted = keys(5, 1, 4)
        assert store.fetch(wanted).tolist() == vectors[wanted - 1].astype(np.float16).tolist()
        assert store.fetch(wanted).dtype == np.float32

    def test_fetch_of_an_absent_id_names_it(self, store: VectorStore) -> None:
        self.apply(store, keys(1), clustered(1, DIMENSION, seed=14))
        with pytest.raises(StoreError, match="No vector for id 99: ask only for ids of the store"):
            store.fetch(keys(1, 99))

    def test_scores_are_those_of_the_search_and_nan_where_there_is_no_vector(
        self, store: VectorStore
    ) -> None:
        vectors = clustered(40, DIMENSION, seed=15)
        self.apply(store, np.arange(1, 31), vectors[:30])
        self.apply(store, np.arange(1, 11), vectors[30:], removed=np.arange(20, 25))
        (every,) = store.search(vectors[:1], 40)
        wanted = np.concatenate((every.ids, keys(22, 99)))
        scores = store.scores(vectors[0], wanted)
        assert scores.dtype == np.float32
        assert scores[:-2].tolist() == every.scores.tolist()
        assert np.isnan(scores[-2:]).all()

    def test_the_sample_is_the_same_whatever_the_history(self, store: VectorStore) -> None:
        vectors = clustered(3 * SAMPLE, DIMENSION, seed=30)
        ids = np.arange(1, 3 * SAMPLE + 1)
        self.apply(store, ids, vectors)
        gone = ids[50 : 2 * SAMPLE - 50]
        self.apply(store, ids[:50], vectors[-50:], removed=gone)
        alive = np.concatenate((ids[:50], ids[2 * SAMPLE - 50 :]))
        kept = np.concatenate((vectors[-50:], vectors[2 * SAMPLE - 50 :]))
        chosen = np.argsort(sample_order(alive))[:SAMPLE]
        expected = kept[chosen].astype(np.float16).astype(np.float32)
        assert store.sample().tolist() == expected.tolist()

    def test_a_vector_of_another_dimension_is_refused(self, store: VectorStore) -> None:
        wrong = clustered(1, DIMENSION + 1, seed=16)
        with pytest.raises(StoreError, match=r"shape \(1, 25\) do not fit .* dimension 24"):
            store.apply(1, keys(1), wrong, keys())
        with pytest.raises(StoreError, match=r"shape \(1, 25\) cannot be asked"):
            store.search(wrong, 1)

    def test_a_vector_that_is_not_finite_is_refused(self, store: VectorStore) -> None:
        vectors = clustered(1, DIMENSION, seed=17)
        vectors[0, 3] = np.nan
        with pytest.raises(StoreError, match="NaN or infinity"):
            store.apply(1, keys(1), vectors, keys())

    def test_an_id_twice_in_one_batch_is_refused(self, store: VectorStore) -> None:
        with pytest.raises(StoreError, match="occurs twice"):
            store.apply(1, keys(1, 1), clustered(2, DIMENSION, seed=18), keys())

    def test_stats_count_live_vectors(self, store: VectorStore) -> None:
        self.apply(store, np.arange(1, 7), clustered(6, DIMENSION, seed=19))
        self.apply(store, keys(), NOTHING, removed=keys(2))
        assert store.stats().count == 5

    def test_a_sound_configuration_checks_clean(self, store: VectorStore) -> None:
        assert store.check() == []


def contents(store: VectorStore) -> dict[int, list[float]]:
    """What a scan reads, in its order."""
    return {
        key: vector.tolist()
        for ids, vectors in store.scan()
        for key, vector in zip(ids.tolist(), vectors, strict=True)
    }
