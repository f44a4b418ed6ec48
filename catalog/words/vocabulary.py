"""The words there are, in memory: which of them a misspelt word may have been meant for."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from rapidfuzz import process
from rapidfuzz.distance import DamerauLevenshtein

from catalog.models import Word

_OVERLAP: Final = 500
"""Rows read again: of two writers at once the one with the lower ids may commit later."""


def edits_allowed(word: str) -> int:
    """How many letters may be wrong, missing, too many or exchanged with the next."""
    return 0 if len(word) < 4 else 1 if len(word) < 8 else 2


@dataclasses.dataclass(frozen=True)
class _Words:
    terms: list[str]
    lengths: npt.NDArray[np.int16]
    letters: npt.NDArray[np.uint64]
    """A bit for each letter that a word has."""


class Vocabulary:
    """The words of the catalogue as they were learnt; safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._last = 0
        self._words = _Words([], np.empty(0, np.int16), np.empty(0, np.uint64))

    def catch_up(self) -> None:
        """Learn the words that were written since."""
        with self._lock:
            rows = Word.objects.filter(pk__gt=self._last - _OVERLAP).order_by("pk")
            found = list(rows.values_list("pk", "term"))
            new = [term for _, term in found if term not in self._known]
            if not new:
                return
            old = self._words
            self._words = _Words(
                terms=old.terms + new,
                lengths=np.concatenate([old.lengths, np.array([*map(len, new)], np.int16)]),
                letters=np.concatenate([old.letters, _letters(new)]),
            )
            self._known.update(new)
            self._last = found[-1][0]

    def within(self, word: str, edits: int) -> list[tuple[str, int]]:
        """Words at a Damerau-Levenshtein distance from 1 to `edits`, each with it; nearest first.

        An edit changes the length by one at most, and two letters at most come or go with it: what
        differs more is not compared.
        """
        words = self._words
        near = np.abs(words.lengths - len(word)) <= edits
        near &= np.bitwise_count(words.letters ^ _letters([word])[0]) <= 2 * edits
        candidates = [words.terms[row] for row in np.flatnonzero(near).tolist()]
        if not candidates:
            return []
        distances = process.cdist(
            [word],
            candidates,
            scorer=DamerauLevenshtein.distance,
            score_cutoff=edits,
            dtype=np.uint8,
        )[0].tolist()
        found = [
            (term, distance)
            for term, distance in zip(candidates, distances, strict=True)
            if 0 < distance <= edits
        ]
        return sorted(found, key=lambda entry: (entry[1], entry[0][:1] != word[:1], entry[0]))


def _letters(words: Sequence[str]) -> npt.NDArray[np.uint64]:
    """The set of letters of each (non-empty) word, as bits; rare letters share some."""
    codes = np.frombuffer("".join(words).encode("utf-32-le"), np.uint32)
    bits = np.left_shift(np.uint64(1), (codes % 64).astype(np.uint64))
    starts = np.cumsum([0, *map(len, words[:-1])])
    return np.bitwise_or.reduceat(bits, starts)


_vocabulary = Vocabulary()


def vocabulary() -> Vocabulary:
    """The vocabulary of this process."""
    return _vocabulary


def reset_vocabulary() -> None:
    """Forget what was learnt, as a test's database is."""
    global _vocabulary  # noqa: PLW0603  one a process
    _vocabulary = Vocabulary()
