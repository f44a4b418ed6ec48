"""Items by the words that they have, best first, at bounded work."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from operator import attrgetter
from typing import Final

import numpy as np
import numpy.typing as npt
from django.db import connection

from catalog.words import asking, scoring
from catalog.words.asking import COMMON, Closeness, Found
from catalog.words.full_text import FullText, Ids, Pattern, full_text
from catalog.words.scoring import Kind, Scores

CANDIDATES: Final = 1_000
"""Items that are scored for a query, where the caller says nothing."""
OF_COMMON: Final = 64
"""The same of a query whose words are all common: each costs time, and says little."""
WORDS_OF_COMMON: Final = 4
"""Of so many common words, the rarest, these items have each: the others say hardly anything, and
the lists of those who have them are the longest."""


@dataclasses.dataclass(frozen=True)
class WordMatches:
    """Items that have words of a query: exact ones first, then by coverage, phrase and score.

    Equal ones are in the order of their keys.
    """

    items: Ids
    """int64 (n,): primary keys."""
    scores: Scores
    """float32 (n,): BM25."""
    coverage: Scores
    """float32 (n,), 0 to 1: the share of what the query's words say that the item has.

    A word that is rare in the catalogue says more; one that is found inflected, as a beginning or
    misspelt counts for less.
    """
    kinds: npt.NDArray[np.int8]
    """int8 (n,): see Kind."""
    found: tuple[Found, ...]
    """The words of the query, and as what the catalogue has them."""
    complete: bool
    """False where more items have words of the query than were looked at."""

    @property
    def corrections(self) -> dict[str, tuple[str, ...]]:
        """Words that no item has, and what they were taken for."""
        corrected = {
            word.asked.text: tuple(
                variant.pattern.terms[0]
                for variant in word.variants
                if variant.closeness is Closeness.TYPO
            )
            for word in self.found
        }
        return {word: terms for word, terms in corrected.items() if terms}

    @property
    def patterns(self) -> tuple[Pattern, ...]:
        """What was looked for, to highlight it."""
        return tuple(variant.pattern for word in self.found for variant in word.variants)


_NONE: Final = np.empty(0, dtype=np.int64)


def search_words(
    text: str, *, limit: int = CANDIDATES, allowed: Ids | None = None, near: Ids = _NONE
) -> WordMatches:
    """The best `limit` items by the words of `text`, among `allowed` (ascending keys) if given.

    Any text is a query: what is no word is left out. Words that more than COMMON items have
    are not looked up everywhere while the query has rarer ones; an item needs one of these.
    Where it has none, more items have its words than can be looked at: some that have them, and
    those that the caller knows to be `near` what is meant.
    """
    index = full_text(connection)
    asked = asking.question(text)
    found = asking.find(asked.words, index)
    worth = _worth(found, index)
    items, complete = _candidates(found, worth, index, limit, allowed)
    if not complete and all(word.common for word in found):
        items = np.union1d(items, near)
    scored = scoring.score(asked, found, worth, items)
    exact = scored.kinds == Kind.EXACT
    phrase = scored.kinds == Kind.PHRASE
    order = np.lexsort((scored.items, -scored.scores, ~phrase, -scored.coverage, ~exact))
    order = order[scored.coverage[order] > 0]
    complete &= order.size <= limit
    order = order[:limit]
    return WordMatches(
        items=scored.items[order],
        scores=scored.scores[order],
        coverage=scored.coverage[order],
        kinds=scored.kinds[order],
        found=tuple(found),
        complete=complete,
    )


def items_with(text: str, *, inflected: bool = False) -> Ids:
    """Every item that has the words of `text` in sequence in one field, ascending.

    With `inflected`, the words may stand in any form and place.
    """
    index = full_text(connection)
    asked = asking.question(text)
    if not asked.words:
        return _NONE
    if not inflected:
        patterns = [asked.phrase]
        if asked.code:
            patterns.append(Pattern((asked.code,)))
        return np.sort(index.matching([patterns]))
    forms = asking.forms(asked.words)
    groups = [
        [*word.patterns, *(Pattern((form,)) for form in forms[word.text])] for word in asked.words
    ]
    return np.sort(index.matching(groups))


def _worth(found: Sequence[Found], index: FullText) -> list[float]:
    """What each word says, as BM25 has it: ln(1 + (N − n + ½) / (n + ½)), of n of N items."""
    items = index.count()
    return [
        float(np.log1p((max(items - word.frequency, 0) + 0.5) / (word.frequency + 0.5)))
        for word in found
    ]


def _candidates(
    found: Sequence[Found],
    worth: Sequence[float],
    index: FullText,
    limit: int,
    allowed: Ids | None,
) -> tuple[Ids, bool]:
    """The items to score, ascending, and whether they are all that have a word."""
    if not found:
        return _NONE, True
    rare = [(word, value) for word, value in zip(found, worth, strict=True) if not word.common]
    rare = [(word, value) for word, value in rare if word.items.size]
    common = [word for word in found if word.common]
    if allowed is not None and allowed.size <= COMMON:
        return allowed, True
    if rare:
        items, values = _united(rare)
        if allowed is not None:
            kept = np.isin(items, allowed, assume_unique=True)
            items, values = items[kept], values[kept]
        most = max(limit, CANDIDATES)
        if items.size > most:
            best = np.lexsort((items, -values))[:most]
            return np.sort(items[best]), False
        if len(common) > 1 and items.size < most:
            items = np.union1d(items, _of_common_words(common, index, allowed))
        return items, not common
    if not common:
        return _NONE, True
    return _of_common_words(common, index, allowed), False


def _united(words: Sequence[tuple[Found, float]]) -> tuple[Ids, npt.NDArray[np.float64]]:
    """Items that have any of the words, and what these say together."""
    items, inverse = np.unique(np.concatenate([w.items for w, _ in words]), return_inverse=True)
    values = np.concatenate([np.full(w.items.size, value) for w, value in words])
    return items, np.bincount(inverse, values, minlength=items.size).astype(np.float64)


def _of_common_words(words: Sequence[Found], index: FullText, allowed: Ids | None) -> Ids:
    """Some items that have all of the words, or of many the rarest; in the title if may be.

    The vectors say which of so many are meant; here it is only about what bears their name.
    """
    rarest = sorted(words, key=attrgetter("frequency"))[:WORDS_OF_COMMON]
    groups = [[variant.pattern for variant in word.variants] for word in rarest]
    limit = OF_COMMON
    if allowed is not None:  # of which so many are likely among the allowed
        limit = int(2 * OF_COMMON * max(1.0, index.count() / max(allowed.size, 1)))
    picked = _among(index.matching(groups, limit=limit), allowed)
    if picked.size >= OF_COMMON:  # there are more: first those that it names
        named = [
            _among(index.matching(groups, fields=fields, limit=limit), allowed)[:OF_COMMON]
            for fields in (("title",), ("tags", "category"))
        ]
        picked = np.union1d(np.concatenate(named), picked[:OF_COMMON])
    return np.unique(picked)


def _among(items: Ids, allowed: Ids | None) -> Ids:
    return items if allowed is None else items[np.isin(items, allowed, assume_unique=True)]
