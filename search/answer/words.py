"""What the words of a query find."""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
from numpy.typing import NDArray

from search.answer.scoring import Numbers
from search.index.stores.base import Ids, IdSet


@dataclasses.dataclass(frozen=True, eq=False)
class WordHits:
    """Items that have words of the query."""

    ids: Ids
    """Ascending."""
    shares: Numbers
    """Share of the query's words that each has, rare ones counting more, from 0 to 1."""
    exact: NDArray[np.bool_]
    """Whether its title, or a code of it, is the query as it stands."""

    def of(self, ids: Ids) -> tuple[Numbers, NDArray[np.bool_]]:
        """Share and exactness of each of `ids`, ascending, which hold all hits."""
        shares, exact = np.zeros(ids.size), np.zeros(ids.size, dtype=np.bool_)
        places = np.searchsorted(ids, self.ids)
        shares[places], exact[places] = self.shares, self.exact
        return shares, exact

    def among(self, allowed: IdSet | None) -> WordHits:
        """Those that a filter allows."""
        if allowed is None:
            return self
        kept = np.isin(self.ids, allowed.ids)
        return WordHits(self.ids[kept], self.shares[kept], self.exact[kept])


NO_WORDS: Final = WordHits(np.empty(0, np.int64), np.empty(0), np.empty(0, dtype=np.bool_))


def find_words(text: str, allowed: IdSet | None) -> WordHits:
    """Items that have words of the text."""
    return NO_WORDS.among(allowed) if text else NO_WORDS


def items_with(words: str) -> Ids:
    """Every item that has these words side by side, ascending."""
    return np.empty(0, np.int64) if words else NO_WORDS.ids
