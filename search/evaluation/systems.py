"""Ways to answer a judged query: ours, each signal alone, and mixtures that were not taken.

All but ours rank the whole catalogue, exhaustively, from the same signals that ours weighs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from catalog.models import Item
from embeddings.models import EmbeddingSpace
from search.answer import answering, scoring
from search.answer.filters import allowed_by
from search.answer.query import MAX_TOP_N, Filters, SearchQuery
from search.answer.question import understand
from search.answer.ranking import gather
from search.answer.scoring import Background, Numbers, Signals
from search.answer.syntax import ask
from search.answer.words import find_words
from search.evaluation.qrels import JudgedQuery
from search.index.item_columns import synced_columns
from search.index.space_index import SpaceIndex, synced_index
from search.index.stores.base import Matches

OURS: Final = "ours"
OURS_RANKED: Final = "ours, `all=1`"
RRF_CONSTANT: Final = 60
"""Cormack, Clarke and Büttcher, SIGIR 2009."""

DEPTH: Final = 100
"""Hits of a ranking that has no end: what comes later changes no figure by a hundredth."""

Hits = list[str]
"""Ids of the items shown, best first."""


def answers(judged: JudgedQuery, space: EmbeddingSpace | None) -> dict[str, Hits]:
    """The hits of every way, by its name: all that ours shows, the first DEPTH of the others.

    Raises EncoderError, SpaceError, QueryError.
    """
    query = as_query(judged)
    everything = dataclasses.replace(query, all=True, top_n=DEPTH)
    return {
        OURS: _found(query, space),
        OURS_RANKED: _found(everything, space),
        **_rankings(everything, synced_index(space)),
    }


def as_query(judged: JudgedQuery) -> SearchQuery:
    """What a person asks who types the query into the box and sets the filters beside it."""
    filters = Filters(categories=judged.category, tags=judged.tags)
    return ask(judged.query, filters=filters, top_n=MAX_TOP_N)


def _found(query: SearchQuery, space: EmbeddingSpace | None) -> Hits:
    return [hit.item.item_id for hit in answering.search(query, space=space).hits]


def _rankings(query: SearchQuery, index: SpaceIndex) -> dict[str, Hits]:
    signals = _signals(query, index)
    best = {
        name: _best(signals, weigh(signals))
        for name, weigh in {**_alone(signals), **MIXTURES}.items()
    }
    keys = {key for each in best.values() for key in each}
    names = dict(Item.objects.filter(pk__in=keys).values_list("pk", "item_id"))
    return {name: [names[key] for key in each if key in names] for name, each in best.items()}


def _signals(query: SearchQuery, index: SpaceIndex) -> Signals:
    """Of every item that the filters allow."""
    question = understand(query, index)
    allowed = allowed_by(query)
    ids = synced_columns().ids if allowed is None else allowed.ids
    found, backgrounds = {}, {}
    for modality, vector in question.vectors.items():
        store = index.stores[modality]
        scores = store.scores(vector, ids)
        there = ~np.isnan(scores)
        found[modality] = Matches(ids[there], scores[there])
        backgrounds[modality] = Background.of(store.sample() @ vector)
    words = find_words(query.words, allowed)
    return gather(index, question, found, backgrounds, words)


def _best(signals: Signals, scores: Numbers) -> list[int]:
    """Item keys, best first, equal ones by age; those that have no score (NaN) are not shown."""
    order = np.lexsort((signals.ids, -scores))
    shown = order[~np.isnan(scores[order])][:DEPTH]
    keys: list[int] = signals.ids[shown].tolist()
    return keys


def _alone(signals: Signals) -> dict[str, Callable[[Signals], Numbers]]:
    """Each signal by itself, without the items that it says nothing of."""
    vectors = {
        f"{modality} vectors": (
            lambda s, modality=modality: s.similarities[modality].astype(np.float64)
        )
        for modality in signals.similarities
    }
    return {scoring.WORDS: lambda s: np.where(s.words > 0, s.words, np.nan), **vectors}


def _raw(signals: Signals) -> NDArray[np.float64]:
    """Each signal as it comes, float64 (signals, n); 0 where there is none."""
    vectors = [values.astype(np.float64) for values in signals.similarities.values()]
    return np.nan_to_num(np.stack([signals.words, *vectors]), nan=0.0)


def _ranks(signals: Signals) -> Numbers:
    """Reciprocal rank fusion."""
    fused = np.zeros(signals.ids.size)
    for values in (np.where(signals.words > 0, signals.words, np.nan), *_vectors(signals)):
        ranks = np.empty(values.size)
        ranks[np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable")] = np.arange(
            1, values.size + 1
        )
        fused += np.where(np.isnan(values), 0, 1 / (RRF_CONSTANT + ranks))
    return fused


def _vectors(signals: Signals) -> list[Numbers]:
    return [values.astype(np.float64) for values in signals.similarities.values()]


def _evidence(signals: Signals) -> NDArray[np.float64]:
    """Each signal calibrated by itself, float64 (signals, n), from 0 to 1."""
    return np.stack(list(scoring.score(signals).evidence.values()))


def _log_odds(signals: Signals) -> Numbers:
    """The sum of log odds, as if the signals were independent; what is missing says nothing."""
    odds = WORDS_ODDS * signals.words
    for modality, values in signals.similarities.items():
        calibrated = scoring.calibration(modality)
        there = ~np.isnan(values)
        alone = signals.backgrounds[modality].odds(values[there], calibrated)
        odds[there] += alone + calibrated.offset
    return odds


WORDS_ODDS: Final = 8.0
"""Log odds of an item that has all of the words, over one that has none."""
MIXTURES: Final[Mapping[str, Callable[[Signals], Numbers]]] = {
    "sum of raw scores": lambda signals: _raw(signals).sum(axis=0),
    "highest raw score": lambda signals: _raw(signals).max(axis=0),
    "reciprocal ranks": _ranks,
    "calibrated, sum": lambda signals: _evidence(signals).sum(axis=0),
    "calibrated, highest": lambda signals: _evidence(signals).max(axis=0),
    "calibrated, any of them": lambda signals: 1 - (1 - _evidence(signals)).prod(axis=0),
    "calibrated, sum of log odds": _log_odds,
}
