"""What every store promises. Subclassed by the tests of each; `make_store` is theirs to give."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import pytest

from search.index.stores.base import SAMPLE, IdSet, StoreError, VectorStore, sample_order
from tests.search.index.stores.clusters import clustered, keys

DIMENSION = 24


class StoreContract(ABC):
    @abstractmethod
    @pytest.fixture
    def store(self) -> VectorStore:
        """An empty store of DIMENSION."""

    def test_a_new_store_is_empty(self, store: VectorStore) -> None:
        assert len(store) == 0
        assert store.position() == 0
        assert store.ids().tolist() == []
        assert store.sample().shape == (0, DIMENSION)
        (match,) = store.search(clustered(1, DIMENSION, seed=1), 5)
        assert match.ids.tolist() == []
        assert match.ids.dtype == np.int64
        assert match.scores.dtype == np.float32

    def test_search_returns_the_nearest_best_first(self, store: VectorStore) -> None:
        vectors = clustered(50, DIMENSION, seed=1)
        store.upsert(np.arange(100, 150), vectors)
        store.commit(1)
        (match,) = store.search(vectors[7:8], 3)
        scores = vectors.astype(np.float16).astype(np.float64) @ vectors[7].astype(np.float64)
        expected = np.argsort(-scores)[:3]
        assert match.ids.tolist() == (expected + 100).tolist()
        assert match.scores.tolist() == scores[expected].astype(np.float32).tolist()

    def test_search_answers_each_query_in_its_place(self, store: VectorStore) -> None:
        vectors = clustered(20, DIMENSION, seed=2)
        store.upsert(np.arange(20), vectors)
        store.commit(1)
        assert [match.ids[0] for match in store.search(vectors, 1)] == list(range(20))

    def test_equal_scores_come_in_id_order_even_beyond_k(self, store: VectorStore) -> None:
        vector = clustered(1, DIMENSION, seed=3)
        ids = np.random.default_rng(3).permutation(200)
        store.upsert(ids, np.repeat(vector, 200, axis=0))
        store.commit(1)
        (match,) = store.search(vector, 5)
        assert match.ids.tolist() == [0, 1, 2, 3, 4]

    def test_k_beyond_the_count_returns_all(self, store: VectorStore) -> None:
        store.upsert(np.arange(3), clustered(3, DIMENSION, seed=4))
        store.commit(1)
        (match,) = store.search(clustered(1, DIMENSION, seed=5), 10)
        assert sorted(match.ids.tolist()) == [0, 1, 2]

    def test_allowed_ids_limit_the_answer_and_nothing_else(self, store: VectorStore) -> None:
        vectors = clustered(60, DIMENSION, seed=6)
        store.upsert(np.arange(60), vectors)
        store.commit(1)
        (every,) = store.search(vectors[:1], 60)
        (match,) = store.search(vectors[:1], 5, allowed=IdSet(keys(3, 17, 40, 55, 999)))
        kept = np.isin(every.ids, [3, 17, 40, 55])
        assert match.ids.tolist() == every.ids[kept].tolist()
        assert match.scores.tolist() == every.scores[kept].tolist()

    def test_no_allowed_ids_means_no_answer(self, store: VectorStore) -> None:
        store.upsert(keys(1), clustered(1, DIMENSION, seed=7))
        store.commit(1)
        (match,) = store.search(clustered(1, DIMENSION, seed=7), 5, allowed=IdSet(keys()))
        assert match.ids.tolist() == []

    def test_changes_are_seen_only_after_commit(self, store: VectorStore) -> None:
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

    def test_upsert_replaces_the_vector_of_an_id(self, store: VectorStore) -> None:
        vectors = clustered(2, DIMENSION, seed=9)
        store.upsert(keys(4), vectors[:1])
        store.commit(1)
        store.upsert(keys(4), vectors[1:])
        store.commit(2)
        assert len(store) == 1
        assert store.fetch(keys(4)).tolist() == vectors[1:].astype(np.float16).tolist()

    def test_the_last_of_several_staged_changes_counts(self, store: VectorStore) -> None:
        vectors = clustered(3, DIMENSION, seed=10)
        store.upsert(keys(1, 2), vectors[:2])
        store.remove(keys(1))
        store.upsert(keys(2), vectors[2:])
        store.commit(1)
        assert store.ids().tolist() == [2]
        assert store.fetch(keys(2)).tolist() == vectors[2:].astype(np.float16).tolist()

    def test_removing_an_unknown_id_changes_nothing(self, store: VectorStore) -> None:
        store.upsert(keys(1), clustered(1, DIMENSION, seed=11))
        store.remove(keys(7, 7))
        store.commit(1)
        assert store.ids().tolist() == [1]

    def test_reset_stages_an_empty_store(self, store: VectorStore) -> None:
        vectors = clustered(2, DIMENSION, seed=12)
        store.upsert(keys(1), vectors[:1])
        store.commit(3)
        store.reset()
        store.upsert(keys(2), vectors[1:])
        assert store.ids().tolist() == [1]
        store.commit(0)
        assert store.ids().tolist() == [2]
        assert store.position() == 0

    def test_fetch_keeps_the_order_asked_for(self, store: VectorStore) -> None:
        vectors = clustered(5, DIMENSION, seed=13)
        store.upsert(np.arange(5), vectors)
        store.commit(1)
        wanted = keys(4, 0, 3)
        assert store.fetch(wanted).tolist() == vectors[wanted].astype(np.float16).tolist()
        assert store.fetch(wanted).dtype == np.float32

    def test_fetch_of_an_absent_id_names_it(self, store: VectorStore) -> None:
        store.upsert(keys(1), clustered(1, DIMENSION, seed=14))
        store.commit(1)
        with pytest.raises(StoreError, match="No vector for id 99: ask only for ids of the store"):
            store.fetch(keys(1, 99))

    def test_scores_are_those_of_the_search_and_nan_where_there_is_no_vector(
        self, store: VectorStore
    ) -> None:
        vectors = clustered(40, DIMENSION, seed=15)
        store.upsert(np.arange(30), vectors[:30])
        store.commit(1)
        store.upsert(np.arange(10), vectors[30:])
        store.remove(np.arange(20, 25))
        store.commit(2)
        (every,) = store.search(vectors[:1], 40)
        wanted = np.concatenate((every.ids, keys(22, 99)))
        scores = store.scores(vectors[0], wanted)
        assert scores.dtype == np.float32
        assert scores[:-2].tolist() == every.scores.tolist()
        assert np.isnan(scores[-2:]).all()

    def test_the_sample_is_the_same_whatever_the_history(self, store: VectorStore) -> None:
        vectors = clustered(3 * SAMPLE, DIMENSION, seed=30)
        ids = np.arange(3 * SAMPLE)
        store.upsert(ids, vectors)
        store.commit(1)
        store.compact()
        store.remove(ids[: 2 * SAMPLE - 50])
        store.upsert(ids[:50], vectors[-50:])
        store.commit(2)
        alive = np.concatenate((ids[:50], ids[2 * SAMPLE - 50 :]))
        kept = np.concatenate((vectors[-50:], vectors[2 * SAMPLE - 50 :]))
        chosen = np.argsort(sample_order(alive))[:SAMPLE]
        expected = kept[chosen].astype(np.float16).astype(np.float32)
        assert store.sample().tolist() == expected.tolist()

    def test_a_vector_of_another_dimension_is_refused(self, store: VectorStore) -> None:
        wrong = clustered(1, DIMENSION + 1, seed=16)
        with pytest.raises(StoreError, match=r"shape \(1, 25\) do not fit .* dimension 24"):
            store.upsert(keys(1), wrong)
        with pytest.raises(StoreError, match=r"shape \(1, 25\) cannot be asked"):
            store.search(wrong, 1)

    def test_a_vector_that_is_not_finite_is_refused(self, store: VectorStore) -> None:
        vectors = clustered(1, DIMENSION, seed=17)
        vectors[0, 3] = np.nan
        with pytest.raises(StoreError, match="NaN or infinity"):
            store.upsert(keys(1), vectors)

    def test_an_id_twice_in_one_batch_is_refused(self, store: VectorStore) -> None:
        with pytest.raises(StoreError, match="occurs twice"):
            store.upsert(keys(1, 1), clustered(2, DIMENSION, seed=18))

    def test_stats_count_live_vectors(self, store: VectorStore) -> None:
        store.upsert(np.arange(6), clustered(6, DIMENSION, seed=19))
        store.remove(keys(2))
        store.commit(1)
        assert store.stats().count == 5
        assert store.measure_recall(clustered(4, DIMENSION, seed=20)) == 1.0

    def test_a_sound_configuration_checks_clean(self, store: VectorStore) -> None:
        assert store.check() == []
        assert store.verify() == []
