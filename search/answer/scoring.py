"""The one place where evidence becomes a score, and where the weights stand with their reasons.

A score lies between 0 and 1 and means the same from query to query: about how likely it is that
the item is what was asked for. An inner product does not: one model's "near" is another's "far",
captions lie closer to words than pictures do, and long queries closer to everything than short
ones. So each signal is measured against the query's own background, which is how it falls on a
sample of the catalogue: what counts is by how far an item stands out from that.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from embeddings.encoders.base import Modality
from search.index.stores.base import Ids, Scores

Numbers = NDArray[np.float64]

RELEVANT: Final = 0.5
"""Least score of a hit that is shown: more likely what was asked for than not."""
OUTSTANDING: Final = 3.0
"""Spreads above the background at which a vector is as likely relevant as not: the best of a
thousand vectors that have nothing to do with the query stands about so high."""
STEEPNESS: Final = 1.0
"""How fast likelihood changes around there, a spread."""
REACHABLE: Final = 0.5
"""Share of the height that the furthest of n vectors can reach, (n - 1) / sqrt(n) spreads, which
is enough where it is below OUTSTANDING: among few vectors none can stand out by much."""
LEAST_SPREAD: Final = 0.01
"""Of inner products: where all of a sample are alike, rounding must not count as standing out."""
FEW: Final = 10
"""Below so many vectors the background is filled up with what unlike things give: what a handful
of items is not about cannot be told from them, so that whatever is alike at all is shown."""
UNLIKE: Final = 0.1
"""Inner products that unlike things reach."""
WORDS_WEIGHT: Final = 0.95
"""Score of an item that has every word looked for, and nothing else to say for itself."""
WORDS_POWER: Final = 2.0
"""The share of the words that an item has counts by this power: half of them are not half."""
EXACT: Final = 0.99
"""All other evidence stays below; a title or code that is the query as it stands is above."""
WORDS: Final = "words"
"""The name of the evidence that words give; that of vectors is their modality."""


@dataclasses.dataclass(frozen=True)
class Background:
    """How a query's inner products with what it is not about are spread."""

    centre: float
    spread: float
    size: int
    """Vectors that this was measured on, at least FEW."""

    @classmethod
    def of(cls, similarities: Scores) -> Background:
        """By the median and what lies below: the relevant ones, on top, move neither much.

        Rounded, so that processors which sum in another order agree.
        """
        filler = np.linspace(-UNLIKE, UNLIKE, max(FEW - similarities.size, 0))
        filled = np.concatenate((similarities.astype(np.float64), filler))
        low, middle = np.quantile(filled, (0.159, 0.5))
        spread = max(round(float(middle - low), 5), LEAST_SPREAD)
        return cls(round(float(middle), 5), spread, filled.size)

    def evidence(self, similarities: Scores) -> Numbers:
        """How likely each vector is relevant, by standing out; 0 where there is none (NaN)."""
        height = (similarities.astype(np.float64) - self.centre) / self.spread
        enough = min(OUTSTANDING, REACHABLE * (self.size - 1) / np.sqrt(self.size))
        above = STEEPNESS * (height - enough)
        # Not logistic, which comes so close to 1 that the best would be told apart no more.
        return np.nan_to_num((1 + above / np.sqrt(1 + above**2)) / 2, nan=0.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Pushed:
    """Nearness to a term of negative weight."""

    weight: float
    """Above 0."""
    similarities: Mapping[Modality, Scores]
    backgrounds: Mapping[Modality, Background]


@dataclasses.dataclass(frozen=True, eq=False)
class Signals:
    """What is known of each candidate, unweighed. Arrays are in the order of `ids`."""

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


@dataclasses.dataclass(frozen=True, eq=False)
class Scored:
    """The outcome, in the order of the signals' ids."""

    scores: Numbers
    evidence: Mapping[str, Numbers]
    """By its name: how likely each item is relevant by this alone."""


def score(signals: Signals) -> Scored:
    """Weigh the signals. Never lower where any of them but the pushed ones is higher."""
    evidence: dict[str, Numbers] = {
        modality.value: background.evidence(signals.similarities[modality])
        for modality, background in signals.backgrounds.items()
    }
    evidence[WORDS] = signals.words_share * WORDS_WEIGHT * signals.words**WORDS_POWER
    scores = EXACT * either(evidence.values())
    if signals.words_share == 1:
        scores = np.where(signals.exact, EXACT + (1 - EXACT) * scores, scores)
    for term in signals.pushed:
        against = either(
            background.evidence(term.similarities[modality])
            for modality, background in term.backgrounds.items()
        )
        scores = scores * (1 - against) ** term.weight
    return Scored(scores, evidence)


def highest_unseen(
    backgrounds: Mapping[Modality, Background], lowest: Mapping[Modality, float]
) -> float:
    """The most that an item without the words can score whose inner products are no higher."""
    evidence = (
        background.evidence(np.array([lowest[modality]], dtype=np.float32))
        for modality, background in backgrounds.items()
    )
    return float(EXACT * either(evidence)[0])


def either(evidence: Iterable[Numbers]) -> Numbers:
    """How likely at least one of several independent reasons holds."""
    return 1 - np.prod([1 - each for each in evidence], axis=0)
