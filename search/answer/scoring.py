"""The one place where evidence becomes a score, and where the weights stand with their reasons.

A score lies between 0 and 1 and estimates how much of what was asked an item is, the same from
query to query. Every number here was chosen by `manage.py evaluate` on the tuning half of
`demo/relevance.jsonl`; docs/RELEVANCE.md says what the alternatives came to.

Vectors: an inner product says little. One model's "near" is another's "far", captions lie closer
to words than pictures do, and long queries closer to everything than short ones. So each is taken
against the query's own background, which is how it falls on a sample of the catalogue, and turned
into log odds. Of an item with several modalities these are averaged, so that one without a caption
is neither punished nor favoured.

Words: the share of the query that the item's words hold, rare ones counting more.

Either can be right without the other: what stays in doubt is the product of both doubts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from embeddings.encoders.base import Modality
from search.index.stores.base import Ids, Scores

Numbers = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Log odds of a vector that stands out by `height` spreads: slope · height - offset."""

    slope: float
    offset: float
    weight: float
    """In the mean over an item's modalities."""


CAPTIONS: Final = Calibration(slope=0.5, offset=6.3, weight=0.75)
PICTURES: Final = Calibration(slope=1.05, offset=6.9, weight=0.25)
"""A picture stands out less, and is surer where it does; beside a caption it adds little."""
LEAST: Final = 0.1
"""Of the items shown that score less, hardly one in four answers the query."""
LEAST_OF_BEST: Final = 0.2
"""What is so much weaker than the best hit is not what was asked, once something is."""
FEW: Final = 16
"""Among fewer vectors none can be told to stand out:"""
UNLIKE: Final = 0.1
"""they are measured beside inner products up to here, of things that have nothing in common,"""
LIKELY_OF_FEW: Final = 0.25
"""and each is shown, for no limit is above this."""
LEAST_SPREAD: Final = 0.01
"""Of inner products: where all of a sample are alike, rounding must not count as standing out."""
WORDS_WEIGHT: Final = 0.97
"""Score of an item that has every word looked for, and nothing else to say for itself."""
WORDS_POWER: Final = 2.0
"""The share of the words that an item has counts by this power: half of them are not half."""
EXACT: Final = 0.99
"""All other evidence stays below; a title or code that is the query as it stands is above."""
LETTERS_UNKNOWN: Final = 1.75
LETTERS_KNOWN: Final = 2.5
"""Letters to a piece of a word, as the model cuts it. What it has learnt it cuts into few pieces,
what nobody ever wrote ("asdfgh") into many, and the vector of that lies anywhere."""
WORDS: Final = "words"
"""The name of the evidence that words give; that of vectors is their modality."""


@dataclasses.dataclass(frozen=True)
class Background:
    """How a query's inner products with what it is not about are spread."""

    centre: float
    spread: float
    size: int
    """Vectors that this was measured on."""

    @classmethod
    def of(cls, similarities: Scores) -> Background:
        """By the median and what lies below: the relevant ones, on top, move neither much.

        Rounded, so that processors which sum in another order agree.
        """
        filler = np.linspace(-UNLIKE, UNLIKE, max(FEW - similarities.size, 0))
        low, middle = _quantiles(np.concatenate((similarities, filler)), (0.159, 0.5))
        spread = max(round(float(middle - low), 5), LEAST_SPREAD)
        return cls(round(float(middle), 5), spread, similarities.size)

    def odds(self, similarities: Scores, calibration: Calibration) -> Numbers:
        """Log odds that each vector is what was asked for; NaN where there is none."""
        height = (similarities.astype(np.float64) - self.centre) / self.spread
        odds = np.clip(calibration.slope * height - calibration.offset, -500, 500)
        if self.size >= FEW:
            return odds
        # Added, so that what is nearer stays before what is not.
        return np.logaddexp(odds, np.log(LIKELY_OF_FEW / (1 - LIKELY_OF_FEW)))


@dataclasses.dataclass(frozen=True, eq=False)
class Pushed:
    """Nearness to a term of negative weight."""

    weight: float
    """Above 0."""
    similarities: Mapping[Modality, Scores]
    backgrounds: Mapping[Modality, Background]


@dataclasses.dataclass(frozen=True, eq=False)
class Signals:
    """What is known of each candidate, before it is weighed. Arrays in the order of `ids`."""

    ids: Ids
    similarities: Mapping[Modality, Scores]
    """Inner products with what is looked for; NaN where an item lacks the modality."""
    backgrounds: Mapping[Modality, Background]
    words: Numbers
    """Share of the words looked for that the item has, rare ones counting more, from 0 to 1."""
    exact: NDArray[np.bool_]
    """Whether its title, or a code of it, is the query as it stands."""
    words_share: float
    """The words' share in what is looked for; the rest are pictures and items."""
    pushed: tuple[Pushed, ...] = ()
    trust: float = 1.0
    """How far the model knows the words: see `trust`."""


@dataclasses.dataclass(frozen=True, eq=False)
class Scored:
    """The outcome, in the order of the signals' ids."""

    scores: Numbers
    evidence: Mapping[str, Numbers]
    """By its name: the score of each item by this alone."""


def calibration(modality: Modality) -> Calibration:
    """What was measured of the modality; of one that was not, what is of pictures."""
    return CAPTIONS if modality is Modality.TEXT else PICTURES


def score(signals: Signals) -> Scored:
    """Weigh the signals."""
    evidence = {
        modality.value: signals.trust
        * meaning({modality: similarities}, signals.backgrounds, size=signals.ids.size)
        for modality, similarities in signals.similarities.items()
    }
    evidence[WORDS] = signals.words_share * WORDS_WEIGHT * signals.words**WORDS_POWER
    meant = meaning(signals.similarities, signals.backgrounds, size=signals.ids.size)
    scores = EXACT * (1 - (1 - signals.trust * meant) * (1 - evidence[WORDS]))
    if signals.words_share == 1:
        scores = np.where(signals.exact, EXACT + (1 - EXACT) * scores, scores)
    for term in signals.pushed:
        against = meaning(term.similarities, term.backgrounds, size=signals.ids.size)
        # What is as much the one as the other stays: a tulip is like a rose, and "flower -rose"
        # asks for it.
        scores = scores * (1 - np.maximum(against - meant, 0)) ** term.weight
    return Scored(scores, evidence)


def meaning(
    similarities: Mapping[Modality, Scores],
    backgrounds: Mapping[Modality, Background],
    *,
    size: int,
) -> Numbers:
    """How likely each of `size` items answers by its vectors; 0 for one that has none."""
    odds, weights = np.zeros(size), np.zeros(size)
    for modality, values in similarities.items():
        calibrated = calibration(modality)
        there = ~np.isnan(values)
        odds[there] += calibrated.weight * backgrounds[modality].odds(values[there], calibrated)
        weights[there] += calibrated.weight
    mean = np.divide(odds, weights, out=np.full(size, -np.inf), where=weights > 0)
    return np.asarray(1 / (1 + np.exp(-mean)))


def highest_unseen(
    backgrounds: Mapping[Modality, Background], lowest: Mapping[Modality, float]
) -> float:
    """The most that an item without the words can score whose inner products are no higher.

    A mean is never above the highest that it is of.
    """
    alone = [
        meaning({modality: np.array([value], dtype=np.float32)}, backgrounds, size=1)[0]
        for modality, value in lowest.items()
    ]
    return EXACT * float(max(alone, default=0.0))


def _quantiles(values: NDArray[np.floating], shares: tuple[float, ...]) -> list[float]:
    """What `np.quantile` gives, in a tenth of the time; interpolated in the same way."""
    places = [share * (values.size - 1) for share in shares]
    below = [int(place) for place in places]
    above = [min(place + 1, values.size - 1) for place in below]
    ordered = np.partition(values.astype(np.float64), [*below, *above])
    return [
        float(ordered[low] + (ordered[high] - ordered[low]) * (place - low))
        for place, low, high in zip(places, below, above, strict=True)
    ]


def least_score(best: float) -> float:
    """The score from which on a hit is shown, where the best one has `best`."""
    return max(LEAST, LEAST_OF_BEST * best)


def trust(words: Sequence[str], pieces: Sequence[int] | None, known: Sequence[bool]) -> float:
    """How far the vector of these words can be believed, from 0 to 1; a long word counts more.

    A word that the catalogue itself has is `known`. Of another, the number of `pieces` into which
    the model cuts it decides. A model that has none to tell is believed, and so is what is not
    written in plain letters, whose characters may be syllables or words.
    """
    if pieces is None or not words:
        return 1.0
    letters = np.array([len(word) for word in words])
    to_a_piece = letters / np.maximum(pieces, 1)
    learnt = np.clip((to_a_piece - LETTERS_UNKNOWN) / (LETTERS_KNOWN - LETTERS_UNKNOWN), 0, 1)
    sure = np.array(known) | np.array([not word.isascii() for word in words])
    return float(np.average(np.where(sure, 1.0, learnt), weights=letters))
