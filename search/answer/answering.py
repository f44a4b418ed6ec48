"""The one function that answers a query."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time

import numpy as np

from catalog.models import Item
from embeddings.encoders.base import Modality, Vectors
from embeddings.models import EmbeddingSpace
from embeddings.query_vectors import encode_query
from search.answer.facets import FACET_DEPTH, Facets, count_facets
from search.answer.filters import allowed_ids, count_searchable
from search.answer.query import SearchQuery
from search.answer.ranking import rank
from search.answer.rows import load_items
from search.comparison.asked import note_asked
from search.index.space_index import SpaceIndex, synced_index
from search.index.stores.base import StoreError
from search.operations.metrics import observe_search

logger = logging.getLogger(__name__)


class UnknownItem(LookupError):  # noqa: N818  what the caller named
    """The item to resemble does not exist, or has no vector yet."""


@dataclasses.dataclass(frozen=True)
class Hit:
    """One item found."""

    item: Item
    tags: tuple[str, ...]
    score: float
    """Inner product with the query, less the query's product with the modality's centre."""
    modality: Modality
    """Which of the item's vectors matched best."""


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
    """Items that the filters allow; a search by meaning ranks all of them."""
    facets: Facets
    timings: Timings
    space: EmbeddingSpace


def search(query: SearchQuery, *, space: EmbeddingSpace | None = None) -> SearchResults:
    """Answer a query: from the space that is active when it begins, or from a live one by name.

    Raises EncoderError where the model fails, SpaceError where no index fits it, UnknownItem for
    an unknown `like`, QueryAbandoned where nobody waits for the answer.
    """
    started = time.perf_counter()
    if space is None and not query.offset:
        note_asked(query.text)
    like = _item_to_resemble(query)
    index = synced_index(space)
    synced = time.perf_counter()
    vectors = _encode(index.space, query)
    encoded = time.perf_counter()
    if like is not None:
        vectors = _resemble(index, like.pk, vectors)
    allowed = allowed_ids(query)
    if like is not None and allowed is not None:
        allowed = allowed[allowed != like.pk]
    wanted = query.offset + query.top_n
    depth = max(wanted, FACET_DEPTH if query.facets else 0) + (like is not None)
    ranked = rank(index, query, vectors, depth, allowed)
    if like is not None:
        ranked = [entry for entry in ranked if entry[0] != like.pk]
    searched = time.perf_counter()
    page = ranked[query.offset : wanted]
    items = load_items([pk for pk, _, _ in page])
    # An item deleted since the index was synced is not in the database: it is not shown.
    hits = tuple(Hit(*items[pk], score, modality) for pk, score, modality in page if pk in items)
    facets = count_facets([pk for pk, _, _ in ranked[:FACET_DEPTH]]) if query.facets else Facets()
    if allowed is not None:
        total = count_searchable(index, allowed)
    else:
        total = index.searchable_items() - (like is not None)
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
    return SearchResults(hits, total, facets, timings, index.space)


def _item_to_resemble(query: SearchQuery) -> Item | None:
    if not query.like:
        return None
    item = Item.objects.filter(item_id=query.like).first()
    if item is None:
        raise UnknownItem(f"There is no item {query.like!r}.")
    return item


def _encode(space: EmbeddingSpace, query: SearchQuery) -> dict[Modality, Vectors]:
    """One query vector a modality searched, from words and picture; float32 (d,) each."""
    parts = []
    if query.text.strip():
        parts.append(encode_query(space, Modality.TEXT, query.text))
    if query.image is not None:
        parts.append(encode_query(space, Modality.IMAGE, query.image))
    if not parts:
        return {}
    return dict.fromkeys(query.modalities, _normalise(np.sum(parts, axis=0)))


def _resemble(
    index: SpaceIndex, pk: int, vectors: dict[Modality, Vectors]
) -> dict[Modality, Vectors]:
    """Add the item's own vectors: its picture looks for pictures, its caption for captions.

    Where the item lacks a modality, its other vector looks there too.
    """
    own: dict[Modality, Vectors] = {}
    for modality, store in index.stores.items():
        with contextlib.suppress(StoreError):  # the item lacks this modality
            own[modality] = store.fetch(np.array([pk]))[0]
    if not own:
        raise UnknownItem("This item has no vector yet: it is pending or failed.")
    any_own = next(iter(own.values()))
    return {
        modality: _normalise(own.get(modality, any_own) + vectors.get(modality, 0))
        for modality in index.stores
    }


def _normalise(vector: Vectors) -> Vectors:
    length = float(np.linalg.norm(vector))
    return (vector / length if length else vector).astype(np.float32)
