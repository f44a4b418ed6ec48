"""The score of an item, against values worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from embeddings.encoders.base import Modality
from search.answer import scoring
from search.answer.scoring import EXACT, Background, Pushed, Signals

TEXT, IMAGE = Modality.TEXT, Modality.IMAGE
BACKGROUNDS = {TEXT: Background(0.0, 0.05, 1000), IMAGE: Background(0.2, 0.05, 1000)}
NOTHING = float("nan")


def _array(*values: float) -> Any:
    return np.array(values, dtype=np.float32)


def _likely(odds: float) -> float:
    return 1 / (1 + math.exp(-odds))


CAPTION = 0.5 * 18 - 6.3
PICTURE = 1.05 * 6 - 6.9


def _signals(*, text: Any, image: Any, **changed: Any) -> Signals:
    fields = {
        "ids": np.arange(text.size),
        "similarities": {TEXT: text, IMAGE: image},
        "backgrounds": BACKGROUNDS,
        "words": np.zeros(text.size),
        "exact": np.zeros(text.size, dtype=np.bool_),
        "words_share": 1.0,
    }
    return Signals(**{**fields, **changed})


def test_background_is_not_moved_by_the_few_that_stand_out() -> None:
    plain = np.linspace(-0.1, 0.1, 1001, dtype=np.float32)
    with_relevant = np.concatenate([plain, _array(*[0.9] * 50)])
    assert Background.of(plain) == Background(0.0, 0.0682, 1001)
    moved = Background.of(with_relevant)
    assert moved.centre == pytest.approx(0.005, abs=1e-3)
    assert moved.spread == pytest.approx(0.0717, abs=1e-3)


def test_background_of_nothing_or_of_equals_never_divides_by_zero() -> None:
    assert Background.of(_array()) == Background(0.0, 0.0682, 0)
    assert Background.of(_array(*[0.5] * 20)) == Background(0.5, 0.01, 20)


def test_score_measures_each_modality_against_its_own_background() -> None:
    scored = scoring.score(
        _signals(text=_array(0.9, NOTHING, 0.9), image=_array(NOTHING, 0.5, 0.5))
    )
    both = _likely(0.75 * CAPTION + 0.25 * PICTURE)
    assert scored.scores == pytest.approx(
        [EXACT * _likely(CAPTION), EXACT * _likely(PICTURE), EXACT * both], abs=1e-5
    )
    assert scored.evidence["text"] == pytest.approx([_likely(CAPTION), 0, _likely(CAPTION)])
    assert scored.evidence["image"] == pytest.approx([0, _likely(PICTURE), _likely(PICTURE)])


def test_score_leaves_the_product_of_both_doubts() -> None:
    none = _array(NOTHING, NOTHING, NOTHING)
    scored = scoring.score(_signals(text=none, image=none, words=np.array([0.0, 0.5, 1.0])))
    assert scored.scores == pytest.approx([0, EXACT * 0.97 / 4, EXACT * 0.97])
    doubt = (1 - _likely(CAPTION)) * (1 - 0.97 / 4)
    scored = scoring.score(_signals(text=_array(0.9), image=_array(NOTHING), words=np.array([0.5])))
    assert scored.scores == pytest.approx([EXACT * (1 - doubt)], abs=1e-5)


def test_an_exact_title_leads_whatever_the_vectors_say() -> None:
    scored = scoring.score(
        _signals(
            text=_array(-1, 1),
            image=_array(-1, 1),
            words=np.array([1.0, 1.0]),
            exact=np.array([True, False]),
        )
    )
    assert scored.scores[0] > EXACT > scored.scores[1]


def test_vectors_are_believed_as_far_as_the_model_knows_the_words() -> None:
    scored = scoring.score(_signals(text=_array(0.9), image=_array(NOTHING), trust=0.25))
    assert scored.scores == pytest.approx([EXACT * 0.25 * _likely(CAPTION)], abs=1e-5)


def test_what_is_more_like_a_pushed_term_than_what_is_looked_for_goes_down() -> None:
    pushed = Pushed(2.0, {TEXT: _array(0.9, 0.9, -0.9)}, BACKGROUNDS)
    fields = {"text": _array(0.6, 0.9, 0.6), "image": _array(NOTHING, NOTHING, NOTHING)}
    before = scoring.score(_signals(**fields)).scores
    scored = scoring.score(_signals(**fields, pushed=(pushed,)))
    more = _likely(CAPTION) - _likely(0.5 * 12 - 6.3)
    assert scored.scores[0] == pytest.approx(before[0] * (1 - more) ** 2, abs=1e-5)
    assert scored.scores[1:].tolist() == before[1:].tolist()


def test_among_few_vectors_each_may_be_what_was_asked_for() -> None:
    few = {TEXT: Background(0.0, 0.05, 15), IMAGE: Background(0.0, 0.05, 0)}
    scored = scoring.score(_signals(text=_array(0.0), image=_array(NOTHING), backgrounds=few))
    assert scored.scores == pytest.approx([EXACT * 0.25], abs=0.002)
    assert scored.scores[0] > scoring.least_score(1.0)


def test_highest_unseen_is_what_the_surer_modality_allows() -> None:
    assert scoring.highest_unseen(BACKGROUNDS, {}) == 0
    assert scoring.highest_unseen(BACKGROUNDS, {TEXT: 0.9, IMAGE: 0.5}) == pytest.approx(
        EXACT * _likely(CAPTION), abs=1e-5
    )


@pytest.mark.parametrize(("best", "least"), [(0.99, 0.198), (0.5, 0.1), (0.0, 0.1)])
def test_least_score_follows_the_best_hit_down_to_a_floor(best: float, least: float) -> None:
    assert scoring.least_score(best) == pytest.approx(least)


def test_trust_is_none_in_what_falls_into_letters_and_full_in_known_words() -> None:
    assert scoring.trust(["asdfgh"], [4], [False]) == 0
    assert scoring.trust(["asdfgh"], [4], [True]) == 1
    assert scoring.trust(["goblins"], [2], [False]) == 1
    assert scoring.trust(["red", "xqvkjz"], [1, 6], [True, False]) == pytest.approx(3 / 9)
    assert scoring.trust(["percuss"], [3], [False]) == pytest.approx((7 / 3 - 1.75) / 0.75)


def test_trust_is_full_where_the_model_tells_no_pieces_or_letters_are_syllables() -> None:
    assert scoring.trust(["asdfgh"], None, [False]) == 1
    assert scoring.trust(["東京"], [2], [False]) == 1
    assert scoring.trust([], [], []) == 1
