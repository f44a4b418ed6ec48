"""The one function that answers a query, and what operators see of the system."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections import Counter
from typing import Final

import numpy as np
from django.db.models import Q

from catalog.models import Item
from embeddings.backends import default_encoder
from embeddings.encoders.base import Modality, Vectors
from embeddings.queries import encode_query_text
from search.hydration import load_items
from search.index import SpaceIndex, synced_index
from search.metrics import observe_search
from search.queries import SearchQuery
from search.stores.base import Ids, StoreError

logger = logging.getLogger(__name__)

FACET_DEPTH: Final = 100
"""Best matches over which categories and tags are counted."""
FACET_VALUES: Final = 20
"""Values shown a facet."""


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
class Facets:
    """(value, count) over the best matches, most frequent first."""

    categories: tuple[tuple[str, int], ...] = ()
    tags: tuple[tuple[str, int], ...] = ()


@dataclasses.dataclass(frozen=True)
class Timings:
    """Milliseconds."""

    encode_ms: float
    index_ms: float
    database_ms: float
    total_ms: float


@dataclasses.dataclass(frozen=True)
class SearchResults:
    """Hits in order, best first; equal scores by age."""

    hits: tuple[Hit, ...]
    total: int
    """Items that the filters allow; a search by meaning ranks all of them."""
    facets: Facets
    timings: Timings


def search(query: SearchQuery) -> SearchResults:
    """Answer a query.

    Raises EncoderError where the model fails, SpaceError where no index fits it, UnknownItem for
    an unknown `like`.
    """
    started = time.perf_counter()
    like = _item_to_resemble(query)
    vectors = _encode(query)
    encoded = time.perf_counter()
    index = synced_index()
    if like is not None:
        vectors = _resemble(index, like.pk, vectors)
    allowed = _allowed_ids(query)
    if like is not None and allowed is not None:
        allowed = allowed[allowed != like.pk]
    wanted = query.offset + query.top_n
    depth = max(wanted, FACET_DEPTH if query.facets else 0) + (like is not None)
    ranked = _rank(index, query, vectors, depth, allowed)
    if like is not None:
        ranked = [entry for entry in ranked if entry[0] != like.pk]
    searched = time.perf_counter()
    page = ranked[query.offset : wanted]
    items = load_items([pk for pk, _, _ in page])
    # An item deleted since the index was synced is not in the database: it is not shown.
    hits = tuple(Hit(*items[pk], score, modality) for pk, score, modality in page if pk in items)
    facets = _count_facets([pk for pk, _, _ in ranked[:FACET_DEPTH]]) if query.facets else Facets()
    if allowed is not None:
        total = _count_searchable(index, allowed)
    else:
        total = index.searchable_items() - (like is not None)
    ended = time.perf_counter()
    timings = Timings(
        encode_ms=(encoded - started) * 1000,
        index_ms=(searched - encoded) * 1000,
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
    return SearchResults(hits, total, facets, timings)


def _item_to_resemble(query: SearchQuery) -> Item | None:
    if not query.like:
        return None
    item = Item.objects.filter(item_id=query.like).first()
    if item is None:
        raise UnknownItem(f"There is no item {query.like!r}.")
    return item


def _encode(query: SearchQuery) -> dict[Modality, Vectors]:
    """One query vector a modality searched, from words and picture; float32 (d,) each."""
    parts = []
    if query.text.strip():
        parts.append(encode_query_text(query.text))
    if query.image is not None:
        parts.append(default_encoder().encode_images([query.image])[0])
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


def _allowed_ids(query: SearchQuery) -> Ids | None:
    """Primary keys of the items that the filters allow, ascending; None without filters."""
    if not query.category and not query.tags:
        return None
    items = Item.objects.order_by("pk")
    if query.category:
        items = items.filter(category=query.category)
    for tag in query.tags:
        items = items.filter(Q(tags__name=tag))
    return np.fromiter(items.values_list("pk", flat=True).iterator(), dtype=np.int64)


def _rank(
    index: SpaceIndex,
    query: SearchQuery,
    vectors: dict[Modality, Vectors],
    depth: int,
    allowed: Ids | None,
) -> list[tuple[int, float, Modality]]:
    """The `depth` best (item key, score, modality): an item's score is the better of its two.

    Scores are centred per modality (GR-CLIP, arXiv 2507.19054), so that pictures and captions
    compare. The union of each modality's `depth` best holds the `depth` best items.
    """
    best: dict[int, tuple[float, Modality]] = {}
    for modality in query.modalities:
        store = index.stores[modality]
        vector = vectors[modality]
        centre = float(vector @ store.mean())
        (matches,) = store.search(vector[np.newaxis], depth, allowed_ids=allowed)
        for pk, score in zip(matches.ids.tolist(), matches.scores.tolist(), strict=True):
            centred = score - centre
            if pk not in best or centred > best[pk][0]:
                best[pk] = (centred, modality)
    ranked = sorted(best.items(), key=lambda entry: (-entry[1][0], entry[0]))
    return [(pk, score, modality) for pk, (score, modality) in ranked[:depth]]


def _count_searchable(index: SpaceIndex, allowed: Ids) -> int:
    found = np.zeros(allowed.size, dtype=bool)
    for store in index.stores.values():
        found |= np.isin(allowed, store.ids(), assume_unique=True)
    return int(found.sum())


def _count_facets(pks: list[int]) -> Facets:
    items = Item.objects.filter(pk__in=pks).order_by()
    categories = Counter(filter(None, items.values_list("category", flat=True)))
    tags = Counter(filter(None, items.values_list("tags__name", flat=True)))
    return Facets(
        tuple(categories.most_common(FACET_VALUES)), tuple(tags.most_common(FACET_VALUES))
    )
