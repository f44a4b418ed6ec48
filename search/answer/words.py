"""What the words of a query find, and where a text has them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Final

import numpy as np
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from numpy.typing import NDArray

from catalog.words import Kind, Pattern, highlight, search_words
from search.answer.scoring import Numbers
from search.index.stores.base import Ids, IdSet, Matches


@dataclasses.dataclass(frozen=True, eq=False)
class WordHits:
    """Items that have words of the query."""

    ids: Ids
    """Ascending."""
    shares: Numbers
    """Share of the query's words that each has, rare ones counting more, from 0 to 1."""
    exact: NDArray[np.bool_]
    """Whether its title, or a code of it, is the query as it stands."""
    patterns: tuple[Pattern, ...] = ()
    """What was looked for, to highlight it."""
    asked: tuple[str, ...] = ()
    """The words of the query,"""
    known: tuple[bool, ...] = ()
    """and whether some item has each as it was asked for."""

    def of(self, ids: Ids) -> tuple[Numbers, NDArray[np.bool_]]:
        """Share and exactness of each of `ids`, ascending, which hold all hits."""
        shares, exact = np.zeros(ids.size), np.zeros(ids.size, dtype=np.bool_)
        places = np.searchsorted(ids, self.ids)
        shares[places], exact[places] = self.shares, self.exact
        return shares, exact


NO_WORDS: Final = WordHits(np.empty(0, np.int64), np.empty(0), np.empty(0, dtype=np.bool_))


def find_words(text: str, allowed: IdSet | None, near: Iterable[Matches] = ()) -> WordHits:
    """Items that have words of the text, among those that a filter allows.

    Where all words are common, those `near` in meaning are looked at too: see `search_words`.
    """
    found = search_words(
        text,
        allowed=None if allowed is None else allowed.ids,
        near=np.concatenate([NO_WORDS.ids, *(matches.ids for matches in near)]),
    )
    order = np.argsort(found.items)
    corrected = found.corrections
    return WordHits(
        ids=found.items[order],
        shares=found.coverage[order].astype(np.float64),
        exact=found.kinds[order] == Kind.EXACT,
        patterns=found.patterns,
        asked=tuple(word.asked.text for word in found.found),
        known=tuple(
            word.frequency > 0 and word.asked.text not in corrected for word in found.found
        ),
    )


def marked(text: str, patterns: tuple[Pattern, ...]) -> SafeString:
    """The text as HTML, with `<mark>` around what was looked for."""
    parts, at = [], 0
    for start, end in highlight(text, patterns) if patterns else ():
        parts += [escape(text[at:start]), "<mark>", escape(text[start:end]), "</mark>"]
        at = end
    parts.append(escape(text[at:]))
    return mark_safe("".join(parts))  # noqa: S308  every part is escaped
