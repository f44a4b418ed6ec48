"""One score an item from 0 to 1, out of its words and its vectors, and where the list ends.

The score estimates how much of what was asked the item is: 1 what was asked for, about a tenth
something related. Every number here was chosen by `manage.py evaluate` on the tuning half of
`demo/relevance.jsonl`; docs/RELEVANCE.md says how, and what the alternatives came to.

Vectors: a cosine says little, for each query and modality has cosines of its own. So it is taken
against the query's background, its cosines with the catalogue, as standard deviations above their
mean, and turned into log-odds. Of an item with several modalities they are averaged, so that one
without a caption is neither punished for it nor favoured.

Words: the share of the question that stands in the item, rare words counting more. Half of a
question's words say less than half (hence the square), all of them nearly everything.

Either can be right without the other: what is left to be doubted is the product of both doubts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from embeddings.encoders.base import Modality

Scores = NDArray[np.float32]
"""float32 (n,): one an item."""


@dataclasses.dataclass(frozen=True)
class Background:
    """A query's cosines with a modality's vectors, or with a sample of them."""

    mean: float
    spread: float
    """Their standard deviation."""


@dataclasses.dataclass(frozen=True)
class Evidence:
    """How log-odds grow with the distance from the background: by `slope`, from `-offset` on."""

    slope: float
    offset: float
    weight: float
    """In the mean over an item's modalities."""


CAPTIONS: Final = Evidence(slope=0.72, offset=6.1, weight=0.75)
"""A caption that answers lies 8 standard deviations above the others and more."""
PICTURES: Final = Evidence(slope=1.3, offset=7.2, weight=0.25)
"""A picture that answers lies 5 above; beside a caption it adds little, and alone it leads."""
WORDS_ALONE: Final = 0.97
"""The score of an item that holds every word as it was typed: a meaning adds what is missing."""
LEAST: Final = 0.1
"""Below, of the items shown fewer than half answered."""
LEAST_OF_BEST: Final = 0.2
"""A hit this much weaker than the best is not what was asked, once something is."""
LETTERS_UNKNOWN: Final = 1.75
LETTERS_KNOWN: Final = 2.5
"""Letters a piece of a word's tokens. Models cut what they have learnt into few pieces, and what
nobody ever wrote ("asdfgh") into many, whose vector lies anywhere."""


def evidence(modality: Modality) -> Evidence:
    """What was measured of the modality; of one that was not, what is of pictures."""
    return CAPTIONS if modality is Modality.TEXT else PICTURES


def meaning(
    cosines: Mapping[Modality, Scores], backgrounds: Mapping[Modality, Background]
) -> Scores:
    """How likely each item answers, by its vectors alone; NaN stands for a missing vector.

    Between 0 and 1; 0 for an item without any.
    """
    size = next(iter(cosines.values())).size
    odds, weights = np.zeros(size), np.zeros(size)
    for modality, values in cosines.items():
        known, background = evidence(modality), backgrounds[modality]
        there = ~np.isnan(values)
        above = (values[there] - background.mean) / max(background.spread, 1e-6)
        odds[there] += known.weight * (known.slope * above - known.offset)
        weights[there] += known.weight
    with np.errstate(invalid="ignore"):
        likely = 1 / (1 + np.exp(-odds / weights))
    return np.where(weights > 0, likely, 0).astype(np.float32)


def combine(meanings: Scores, words: Scores, *, trust: float = 1.0) -> Scores:
    """The score of each item, from 0 to 1.

    `words` is the share of the question found in its words, from 0 to 1; `trust` is how far the
    model knows the question's words.
    """
    doubt = (1 - trust * meanings) * (1 - WORDS_ALONE * np.square(words))
    return np.asarray(1 - doubt, dtype=np.float32)


def least_score(best: float) -> float:
    """The score that a hit needs to be shown, where the best of them has `best`."""
    return max(LEAST, LEAST_OF_BEST * best)


def trust(words: Sequence[str], pieces: Sequence[int] | None, known: Sequence[bool]) -> float:
    """How far the vector of these words can be believed, from 0 to 1; a long word counts more.

    A word that the catalogue itself uses is `known`. Of another, the number of `pieces` that the
    model reads it in decides. A model that has none to tell is believed, and so are scripts whose
    letters are syllables or words.
    """
    letters = np.array([len(word) for word in words])
    if pieces is None or not words:
        return 1.0
    a_piece = letters / np.maximum(pieces, 1)
    believed = np.clip((a_piece - LETTERS_UNKNOWN) / (LETTERS_KNOWN - LETTERS_UNKNOWN), 0, 1)
    sure = np.array(known) | np.array([not word.isascii() for word in words])
    return float(np.average(np.where(sure, 1.0, believed), weights=letters))
