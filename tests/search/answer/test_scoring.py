"""The score of an item, against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from embeddings.encoders.base import Modality
from search.answer import scoring
from search.answer.scoring import Background

FLAT = {Modality.TEXT: Background(0.0, 0.1), Modality.IMAGE: Background(0.2, 0.05)}
NOTHING = float("nan")


def _array(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def _likely(odds: float) -> float:
    return 1 / (1 + math.exp(-odds))


def test_meaning_measures_each_modality_against_its_own_background() -> None:
    found = scoring.meaning(
        {Modality.TEXT: _array(0.9, NOTHING, 0.9), Modality.IMAGE: _array(NOTHING, 0.5, 0.5)}, FLAT
    )
    caption, picture = 0.72 * 9 - 6.1, 1.3 * 6 - 7.2
    assert found == pytest.approx(
        [_likely(caption), _likely(picture), _likely(0.75 * caption + 0.25 * picture)], abs=1e-6
    )


def test_meaning_of_an_item_without_vectors_is_nothing() -> None:
    found = scoring.meaning({Modality.TEXT: _array(NOTHING), Modality.IMAGE: _array(NOTHING)}, FLAT)
    assert found.tolist() == [0.0]


def test_combine_leaves_the_product_of_both_doubts() -> None:
    found = scoring.combine(_array(0.0, 0.5, 0.5, 0.5), _array(1.0, 0.0, 1.0, 0.5))
    assert found == pytest.approx([0.97, 0.5, 1 - 0.5 * 0.03, 1 - 0.5 * (1 - 0.97 / 4)])


def test_combine_believes_vectors_as_far_as_the_model_knows_the_words() -> None:
    assert scoring.combine(_array(0.8), _array(0.0), trust=0.25).tolist() == pytest.approx([0.2])


@pytest.mark.parametrize(("best", "least"), [(0.97, 0.194), (0.5, 0.1), (0.0, 0.1)])
def test_least_score_follows_the_best_hit_down_to_a_floor(best: float, least: float) -> None:
    assert scoring.least_score(best) == pytest.approx(least)


def test_trust_is_none_in_what_falls_into_letters_and_full_in_known_words() -> None:
    assert scoring.trust(["asdfgh"], [4], [False]) == 0
    assert scoring.trust(["asdfgh"], [4], [True]) == 1
    assert scoring.trust(["serpent"], [2], [False]) == 1
    assert scoring.trust(["red", "xqvkjz"], [1, 6], [True, False]) == pytest.approx(3 / 9)
    assert scoring.trust(["percuss"], [3], [False]) == pytest.approx((7 / 3 - 1.75) / 0.75)


def test_trust_is_full_where_the_model_tells_no_pieces_or_letters_are_syllables() -> None:
    assert scoring.trust(["asdfgh"], None, [False]) == 1
    assert scoring.trust(["東京"], [2], [False]) == 1
    assert scoring.trust([], [], []) == 1
