from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.comparison.lists import overlap, rank_correlation

KEYS = st.lists(st.integers(1, 12), max_size=8, unique=True)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ([], [], 1.0),
        ([1], [], 0.0),
        ([1, 2], [2, 1], 1.0),
        ([1, 2, 3, 4], [3, 9], 0.25),
    ],
)
def test_overlap_is_the_share_of_the_longer_list(
    left: list[int], right: list[int], expected: float
) -> None:
    assert overlap(left, right) == expected


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ([1, 2, 3], [1, 2, 3], 1.0),
        ([1, 2, 3], [3, 2, 1], -1.0),
        ([], [], 1.0),
        ([1], [1], 1.0),
        ([1], [2], -1.0),
        ([1], [], 0.0),
    ],
)
def test_rank_correlation_of_small_lists(
    left: list[int], right: list[int], expected: float
) -> None:
    assert rank_correlation(left, right) == pytest.approx(expected)


@given(KEYS, KEYS)
def test_rank_correlation_is_kendalls_tau_b(left: list[int], right: list[int]) -> None:
    held = sorted({*left, *right})

    def place(ranked: list[int], key: int) -> int:
        return ranked.index(key) if key in ranked else len(ranked)

    agree = disagree = tied_left = tied_right = 0
    for one, other in itertools.combinations(held, 2):
        a = place(left, one) - place(left, other)
        b = place(right, one) - place(right, other)
        agree += a * b > 0
        disagree += a * b < 0
        tied_left += a == 0
        tied_right += b == 0
    pairs = len(held) * (len(held) - 1) // 2
    ordered = math.sqrt((pairs - tied_left) * (pairs - tied_right))
    expected = (agree - disagree) / ordered if ordered else float(left == right)
    assert rank_correlation(left, right) == pytest.approx(expected)
