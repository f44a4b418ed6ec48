"""The one function that answers a query."""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from django.utils.safestring import SafeString

from catalog.models import Item
from catalog.words import Pattern
from embeddings.models import EmbeddingSpace
from search.answer.cursors import Resumed, cursor_at, keep, resume
from search.answer.facets import Facets, count_facets
from search.answer.filters import allowed_by
from search.answer.query import START, SearchQuery
from search.answer.question import UnknownItem, understand
from search.answer.ranking import Ranked, nearest, rank
from search.answer.rows import load_items
from search.answer.words import NO_WORDS, WordHits, find_words, marked
from search.comparison.asked import note_asked
from search.index.item_columns import synced_columns
from search.index.space_index import synced_index
from search.index.stores.base import IdSet
from search.operations.metrics import observe_search

logger = logging.getLogger(__name__)

_TURNS: Final = threading.BoundedSemaphore(2 * (os.cpu_count() or 1))
"""Queries that are answered at once, once encoded: more would only fight for the interpreter, which
at 32 of them costs as much again as the answers."""

__all__ = ["Hit", "SearchResults", "Timings", "UnknownItem", "search"]


@dataclasses.dataclass(frozen=True)
class Hit:
    """One item found."""

    item: Item
    tags: tuple[str, ...]
    score: float
    """From 0 to 1: about how likely it is what was asked for. 0 where nothing was asked."""
    evidence: Mapping[str, float]
    """What speaks for it, `words` or a modality, each from 0 to 1 by itself."""

    patterns: tuple[Pattern, ...]
    """The words looked for, as the catalogue has them."""

    @property
    def title(self) -> SafeString:
        """The title as HTML, with `<mark>` around the words looked for."""
        return marked(self.item.title, self.patterns)

    @property
    def caption(self) -> SafeString:
        """The caption in the same way."""
        return marked(self.item.caption, self.patterns)

    @property
    def matched(self) -> str:
        """The strongest evidence; "" where nothing was asked."""
        return max(self.evidence, key=self.evidence.__getitem__) if self.evidence else ""


@dataclasses.dataclass(frozen=True)
class Timings:
    """Milliseconds."""

    encode_ms: float
    index_ms: float
    database_ms: float
    total_ms: float


@dataclasses.dataclass(frozen=True)
class SearchResults:
    """Hits in order, best first; equal scores by age. All of one space."""

    hits: tuple[Hit, ...]
    total: int
    """All hits, at most MAX_HITS; with `all` the items that the filters allow."""
    facets: Facets
    timings: Timings
    space: EmbeddingSpace
    cursor: str | None
    """Where a query with a cursor goes on; None where nothing comes any more."""


def search(query: SearchQuery, *, space: EmbeddingSpace | None = None) -> SearchResults:
    """Answer a query: from the space that is active when it begins, or from a live one by name.

    Raises EncoderError where the model fails, SpaceError where no index fits it, UnknownItem for
    an unknown item to resemble, QueryAbandoned where nobody waits for the answer.
    """
    started = time.perf_counter()
    is_first_page = not query.offset and query.cursor in {"", START}
    if space is None and is_first_page and all(term.text for term in query.terms):
        note_asked(query.words)
    index = synced_index(space)
    synced = time.perf_counter()
    resumed = resume(query) if query.cursor not in {"", START} else None
    question = understand(query, index) if query.terms and resumed is None else None
    encoded = time.perf_counter()
    with _TURNS:
        allowed = allowed_by(query)
        near = {} if question is None else nearest(index, question, allowed=allowed)
        words = find_words(query.words, allowed, near.values()) if query.asks_words else NO_WORDS
        if resumed is not None:
            ranked = resumed.ranked
        elif question is not None:
            ranked = rank(
                index,
                question,
                near,
                allowed=allowed,
                words=words,
                least=0.0 if query.all and query.min_score is None else query.min_score,
                wanted=query.page.stop if query.all and not query.cursor else None,
            )
        else:
            ranked = _newest_first(allowed)
        if query.cursor == START:
            resumed = keep(query, ranked)
        searched = time.perf_counter()
        if resumed is None:
            hits, following = _hits(ranked, words, range(ranked.ids.size)[query.page]), None
        else:
            hits, following = _hits_from(resumed, query, words, allowed)
        total = ranked.ids.size
        if query.all and question is not None:
            searchable = index.count_items(question.vectors.keys(), allowed)
            total = max(total, searchable - len(question.left_out))
        facets = _facets(query, ranked, allowed) if query.facets else Facets()
    ended = time.perf_counter()
    timings = Timings(
        encode_ms=(encoded - synced) * 1000,
        index_ms=(searched - encoded + synced - started) * 1000,
        database_ms=(ended - searched) * 1000,
        total_ms=(ended - started) * 1000,
    )
    observe_search(
        encode_ms=timings.encode_ms, index_ms=timings.index_ms, database_ms=timings.database_ms
    )
    logger.info(
        "Search found %d of %d items: encode %.1f, index %.1f, database %.1f ms",
        len(hits),
        total,
        timings.encode_ms,
        timings.index_ms,
        timings.database_ms,
    )
    return SearchResults(hits, total, facets, timings, index.space, following)


def _newest_first(allowed: IdSet | None) -> Ranked:
    """What the filters allow, where nothing is looked for."""
    ids = np.empty(0, np.int64) if allowed is None else allowed.ids[::-1]
    return Ranked(ids, np.zeros(ids.size), {})


def _facets(query: SearchQuery, ranked: Ranked, allowed: IdSet | None) -> Facets:
    columns = synced_columns()
    if not query.all:
        return count_facets(columns, np.sort(ranked.ids))
    return count_facets(columns, columns.ids if allowed is None else allowed.ids)


def _hits_from(
    resumed: Resumed, query: SearchQuery, words: WordHits, allowed: IdSet | None
) -> tuple[tuple[Hit, ...], str | None]:
    """The page that begins at a place of a kept ranking, and the cursor of the next.

    What has gone since, or is no longer allowed, makes room for what follows.
    """
    ids, place = resumed.ranked.ids, resumed.place
    hits: tuple[Hit, ...] = ()
    while len(hits) < query.top_n and place < ids.size:
        places = range(place, min(place + query.top_n - len(hits), ids.size))
        place = places.stop
        if allowed is not None:
            may_come = np.isin(ids[places.start : places.stop], allowed.ids)
            hits += _hits(resumed.ranked, words, np.array(places)[may_come].tolist())
        else:
            hits += _hits(resumed.ranked, words, places)
    return hits, cursor_at(resumed, place)


def _hits(ranked: Ranked, words: WordHits, places: Sequence[int]) -> tuple[Hit, ...]:
    pks = {place: int(ranked.ids[place]) for place in places}
    items = load_items([*pks.values()])
    # An item deleted since it was ranked is not in the database: it is not shown.
    return tuple(
        Hit(
            *items[pk],
            score=float(ranked.scores[place]),
            evidence={name: float(values[place]) for name, values in ranked.evidence.items()},
            patterns=words.patterns,
        )
        for place, pk in pks.items()
        if pk in items
    )
