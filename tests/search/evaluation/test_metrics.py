"""Figures against values worked out by hand, and against a brute-force oracle."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest

from search.evaluation.metrics import interval, measure, ndcg, recall, reciprocal_rank

GRADES = {"a": 3, "b": 2, "c": 1}


def test_ndcg_of_the_best_order_is_one_and_of_no_hit_nothing() -> None:
    assert ndcg(["a", "b", "c", "x"], GRADES) == pytest.approx(1)
    assert ndcg(["x", "y"], GRADES) == 0
    assert ndcg([], GRADES) == 0


def test_ndcg_by_hand() -> None:
    gained = 3 / math.log2(2) + 7 / math.log2(4)
    best = 7 / math.log2(2) + 3 / math.log2(3) + 1 / math.log2(4)
    assert ndcg(["b", "x", "a"], GRADES) == pytest.approx(gained / best)


def test_ndcg_looks_at_ten_hits() -> None:
    others = [f"x{number}" for number in range(9)]
    assert ndcg([*others, "a"], {"a": 3}) == pytest.approx(1 / math.log2(11))
    assert ndcg([*others, "y", "a"], {"a": 3}) == 0


def test_ndcg_is_gain_over_that_of_the_best_of_all_orders() -> None:
    source = random.Random(1)
    for _ in range(20):
        grades = {name: source.choice([1, 2, 3]) for name in "abcd"}
        hits = source.sample("abcdwxyz", 5)
        orders = itertools.permutations("abcd")
        best = max(_gain(list(order), grades) for order in orders)
        assert ndcg(hits, grades) == pytest.approx(_gain(hits, grades) / best)


def _gain(hits: list[str], grades: dict[str, int]) -> float:
    gained = 0.0
    for place, hit in enumerate(hits):
        gained += (2 ** grades.get(hit, 0) - 1) / math.log2(place + 2)
    return gained


def test_reciprocal_rank_is_of_the_first_hit_of_the_highest_grade() -> None:
    assert reciprocal_rank(["c", "b", "a"], GRADES) == pytest.approx(1 / 3)
    assert reciprocal_rank(["y", "x"], {"x": 2, "y": 1}) == pytest.approx(1 / 2)
    assert reciprocal_rank(["b", "c"], GRADES) == 0


def test_recall_is_over_what_ten_hits_can_hold() -> None:
    assert recall(["a", "x", "c"], GRADES) == pytest.approx(2 / 3)
    many = {f"i{number}": 1 for number in range(40)}
    assert recall(list(many), many) == 1
    assert recall([*["x"] * 5, *many], many) == pytest.approx(5 / 10)


def test_measure_counts_what_is_shown_and_does_not_answer() -> None:
    figures = measure(["a", "x", "y", "c"], GRADES)
    assert (figures.shown, figures.irrelevant, figures.share) == (4, 2, 0.5)


def test_figures_of_a_query_that_nothing_answers_are_not_numbers() -> None:
    figures = measure(["x", "y"], {})
    assert all(map(math.isnan, (figures.ndcg, figures.reciprocal_rank, figures.recall)))
    assert (figures.shown, figures.irrelevant, figures.share) == (2, 2, 0)
    assert math.isnan(measure([], {}).share)


def test_interval_narrows_with_the_number_of_queries_and_repeats() -> None:
    source = np.random.default_rng(3)
    few, many = source.normal(0.2, 0.1, 25), source.normal(0.2, 0.1, 2_500)
    low, high = interval(few)
    closer_low, closer_high = interval(many)
    assert low < few.mean() < high
    assert closer_high - closer_low == pytest.approx((high - low) / 10, rel=0.4)
    assert interval(few) == (low, high)


def test_interval_of_equals_is_their_value_and_of_nothing_not_a_number() -> None:
    assert interval(np.full(7, 0.25)) == (0.25, 0.25)
    assert all(map(math.isnan, interval(np.empty(0))))


def test_interval_covers_the_mean_nineteen_times_of_twenty() -> None:
    source = np.random.default_rng(5)
    draws = [interval(source.normal(0, 1, 60), seed=seed) for seed in range(200)]
    assert 178 <= sum(low <= 0 <= high for low, high in draws) <= 200
