"""How well items have the words asked for: BM25 over weighted fields, coverage, kind of match."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from operator import methodcaller
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from django.db import connection

from catalog.words.asking import QUALITY, Closeness, Found, Question
from catalog.words.full_text import EDGE, Ids, Pattern, full_text
from catalog.words.writing import BREAK, FIELDS

Scores: TypeAlias = npt.NDArray[np.float32]
_Positions: TypeAlias = npt.NDArray[np.int64]
_Numbers: TypeAlias = npt.NDArray[np.float64]

WEIGHTS: Final = {
    # What names an item says more than what describes it.
    "title": 3.0,
    "caption": 1.0,
    "tags": 2.0,
    "category": 1.0,
    "name": 1.5,
    "codes": 2.0,
}
_TYPICAL: Final = {
    # Terms; constants, so that a score does not move with what else there is.
    "title": 4,
    "caption": 12,
    "tags": 6,
    "category": 2,
    "name": 4,
    "codes": 2,
}
_K1: Final = 1.2
_B: Final = 0.4
"""Weaker than in long documents: a long caption is not a worse one."""
_IS_EDGE: Final = 1
_IS_BREAK: Final = 2


class Kind(enum.IntEnum):
    """How an item matches, best last."""

    NONE = 0
    SOME = 1
    """Some of the words."""
    TYPO = 2
    """All words, some of them only as the query may have meant them."""
    PREFIX = 3
    """All words, the last only as a beginning."""
    ALL = 4
    PHRASE = 5
    """All words, in their order."""
    EXACT = 6
    """The title, the item id or the file name is what was asked; or the code stands somewhere."""


@dataclasses.dataclass(frozen=True)
class Scored:
    """Per item in the order given: float32 (n,), float32 (n,), int8 (n,)."""

    items: Ids
    scores: Scores
    coverage: Scores
    kinds: npt.NDArray[np.int8]


def score(asked: Question, found: Sequence[Found], worth: Sequence[float], items: Ids) -> Scored:
    """Score the items (primary keys, ascending) that have words."""
    patterns = [variant.pattern for word in found for variant in word.variants]
    codes = {asked.code, *(word.asked.text for word in found if word.asked.parts)} - {""}
    terms = chain.from_iterable(pattern.terms for pattern in patterns)
    texts = _Texts(items, chain(terms, asked.sequence, codes))
    if not texts.items.size:
        return _NOTHING
    values = np.array(worth)
    frequency, quality = texts.likeness(found)
    scores = (frequency * (_K1 + 1) / (frequency + _K1)) @ values
    coverage = quality @ values / (values.sum() or 1.0)
    kinds = np.where(coverage > 0, Kind.SOME, Kind.NONE).astype(np.int8)
    worst = quality.min(axis=1)
    kinds[worst > 0] = _KIND_FROM_QUALITY[np.digitize(worst[worst > 0], _QUALITIES)]
    if len(asked.sequence) > 1:
        rows, _ = texts.occurrences(asked.phrase)
        kinds[rows] = Kind.PHRASE
    kinds[texts.equal_to(asked.sequence)] = Kind.EXACT
    for code in codes if len(found) == 1 or asked.code else ():
        rows, _ = texts.occurrences(Pattern((code,)))
        kinds[rows] = Kind.EXACT
    return Scored(texts.items, scores.astype(np.float32), coverage.astype(np.float32), kinds)


_NOTHING: Final = Scored(
    np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.float32), np.empty(0, np.int8)
)
_QUALITIES: Final = (QUALITY[Closeness.PREFIX, 0], QUALITY[Closeness.FORM, 0])
_KIND_FROM_QUALITY: Final = np.array([Kind.TYPO, Kind.PREFIX, Kind.ALL], dtype=np.int8)
"""By the places between `_QUALITIES`: of an item that has every word, the worst likeness."""


class _Texts:
    """The terms of some items behind one another, as numbers: what is not asked for is 0."""

    def __init__(self, items: Ids, asked: Iterable[str]) -> None:
        self.items, texts = full_text(connection).texts(items)
        self._written = f"{EDGE} {texts} {EDGE}".split()
        self._number = {EDGE: _IS_EDGE, BREAK: _IS_BREAK}
        for term in asked:
            self._number.setdefault(term, len(self._number) + 1)
        numbers = map(self._number.get, self._written, repeat(0))
        self._terms = np.fromiter(numbers, dtype=np.int32, count=len(self._written))
        self._cell = np.cumsum(self._terms == _IS_EDGE) - 1
        lengths = np.diff(np.flatnonzero(self._terms == _IS_EDGE)) - 1
        typical = np.tile([_TYPICAL[field] for field in FIELDS], self.items.size)
        weights = np.tile([WEIGHTS[field] for field in FIELDS], self.items.size)
        self._weights = weights / (1 - _B + _B * lengths / typical)

    def occurrences(self, pattern: Pattern) -> tuple[_Positions, npt.NDArray[np.float64]]:
        """The row of every occurrence, and what it weighs in its field."""
        cells = self._cell[self._places(pattern)]
        return cells // len(FIELDS), self._weights[cells]

    def likeness(self, found: Sequence[Found]) -> tuple[_Numbers, _Numbers]:
        """How often each item has each word, and how like it is at best; both (items, words).

        What occurs counts by its field's weight and by its likeness.
        """
        single: list[tuple[int, int, float]] = []
        parts: list[tuple[_Positions, int, float]] = []
        for number, word in enumerate(found):
            for variant in word.variants:
                pattern = variant.pattern
                if len(pattern.terms) == 1 and not pattern.prefix:
                    single.append((self._number[pattern.terms[0]], number, variant.quality))
                else:
                    parts.append((self._places(pattern), number, variant.quality))
        terms, words, qualities = np.array(sorted(single)).reshape(-1, 3).T
        asked = np.flatnonzero(self._terms > _IS_BREAK)
        first = np.searchsorted(terms, self._terms[asked])
        count = np.searchsorted(terms, self._terms[asked], side="right") - first
        # A term may be what several words ask for: one entry for each.
        entry = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count - first, count)
        places = np.concatenate([np.repeat(asked, count), *(places for places, _, _ in parts)])
        words = np.concatenate(
            [words[entry].astype(np.int64), *(np.full(p.size, word) for p, word, _ in parts)]
        )
        qualities = np.concatenate([qualities[entry], *(np.full(p.size, q) for p, _, q in parts)])
        cells = self._cell[places]
        keys = cells // len(FIELDS) * len(found) + words
        shape = (self.items.size, len(found))
        weights = qualities * self._weights[cells]
        frequency = np.bincount(keys, weights, math.prod(shape)).astype(np.float64, copy=False)
        best = np.zeros(math.prod(shape))
        np.maximum.at(best, keys, qualities)
        return frequency.reshape(shape), best.reshape(shape)

    def equal_to(self, terms: tuple[str, ...]) -> _Positions:
        """Rows whose title, item id or file name consists of the terms."""
        places = self._places(Pattern(terms))
        edges = self._terms[[places - 1, places + len(terms)]]
        whole = np.isin(edges, (_IS_EDGE, _IS_BREAK)).all(axis=0)
        cells = self._cell[places[whole]]
        return (cells // len(FIELDS))[np.isin(cells % len(FIELDS), _NAMES)]

    def _places(self, pattern: Pattern) -> _Positions:
        """Where the pattern begins."""
        if not pattern.terms:
            return np.empty(0, dtype=np.int64)
        *before, last = pattern.terms
        if pattern.prefix:
            begun = map(methodcaller("startswith", last), self._written)
            places = np.flatnonzero(np.fromiter(begun, dtype=bool, count=len(self._written)))
        else:
            places = np.flatnonzero(self._terms == self._number[last])
        places = places[places >= len(before)]
        for distance, term in enumerate(reversed(before), 1):
            places = places[self._terms[places - distance] == self._number[term]]
        return places - len(before)


_NAMES: Final = (FIELDS.index("title"), FIELDS.index("name"))
