"""The hits of a question: candidates by every signal, each scored by all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from embeddings.encoders.base import Modality
from embeddings.query_vectors import pieces_of
from search.answer import scoring
from search.answer.query import MAX_OFFSET, MAX_TOP_N
from search.answer.question import ByModality, Question
from search.answer.scoring import Background, Numbers, Pushed, Signals
from search.answer.words import NO_WORDS, WordHits
from search.index.space_index import SpaceIndex
from search.index.stores.base import Ids, IdSet, Matches, Scores

FIRST_DEPTH: Final = 64
"""Candidates asked of each store at first; most queries have fewer relevant items."""
DEEPER: Final = 4
"""Times as many, as long as some that were not fetched might belong to the answer."""
MAX_HITS: Final = MAX_OFFSET + MAX_TOP_N
"""An answer holds no more: what lies beyond can be neither paged to nor read."""


@dataclasses.dataclass(frozen=True, eq=False)
class Ranked:
    """Items best first, equal ones by age."""

    ids: Ids
    scores: Numbers
    evidence: Mapping[str, Numbers]
    """By its name, of each item: see `scoring.Scored`."""


def nearest(
    index: SpaceIndex, question: Question, *, allowed: IdSet | None, depth: int = FIRST_DEPTH
) -> dict[Modality, Matches]:
    """What each store has nearest to what is looked for."""
    return {
        modality: index.stores[modality].search(vector[np.newaxis], depth, allowed=allowed)[0]
        for modality, vector in question.vectors.items()
    }


def rank(
    index: SpaceIndex,
    question: Question,
    near: Mapping[Modality, Matches],
    *,
    allowed: IdSet | None,
    words: WordHits = NO_WORDS,
    least: float | None = None,
    wanted: int | None = None,
) -> Ranked:
    """Every relevant item, or those that score `least`, up to MAX_HITS; or the `wanted` best of it.

    It is exact as far as the stores are: beyond those that are `near`, candidates are fetched ever
    deeper until none that is still missing could belong to the answer.
    """
    backgrounds = _backgrounds(index, question.vectors)
    limit = MAX_HITS if wanted is None else min(wanted, MAX_HITS)
    depth = FIRST_DEPTH if wanted is None else max(FIRST_DEPTH, wanted + len(question.left_out))
    while True:
        if depth > FIRST_DEPTH:
            near = nearest(index, question, allowed=allowed, depth=depth)
        signals = gather(index, question, near, backgrounds, words)
        ranked = _ordered(signals, question, least=least)
        unseen = signals.trust * _highest_unseen(backgrounds, near, depth)
        needed = _least(ranked, least)
        if ranked.ids.size >= limit:
            needed = max(needed, ranked.scores[limit - 1])
        if unseen < needed or unseen <= 0 or depth >= MAX_HITS:
            break
        depth = min(DEEPER * depth, MAX_HITS)
    return _taken(ranked, np.arange(min(limit, ranked.ids.size)))


def gather(
    index: SpaceIndex,
    question: Question,
    found: Mapping[Modality, Matches],
    backgrounds: Mapping[Modality, Background],
    words: WordHits,
) -> Signals:
    """All signals of every candidate that any of them found."""
    ids = np.unique(np.concatenate([words.ids, *(matches.ids for matches in found.values())]))
    share, exact = words.of(ids)
    return Signals(
        ids=ids,
        similarities={
            modality: _similarities(index, modality, question.vectors, ids, matches)
            for modality, matches in found.items()
        },
        backgrounds=backgrounds,
        words=share,
        exact=exact,
        words_share=question.words_share,
        trust=_trust(index, question, words),
        pushed=tuple(
            Pushed(
                weight,
                {m: index.stores[m].scores(vector, ids) for m, vector in vectors.items()},
                _backgrounds(index, vectors),
            )
            for weight, vectors in question.pushed
        ),
    )


def _trust(index: SpaceIndex, question: Question, words: WordHits) -> float:
    """How far the vectors can be believed: what is no word of the text stands by itself."""
    pieces = None if all(words.known) else pieces_of(index.space, words.asked)
    return 1 - question.words_share * (1 - scoring.trust(words.asked, pieces, words.known))


def _ordered(signals: Signals, question: Question, *, least: float | None) -> Ranked:
    scored = scoring.score(signals)
    # Where scores come so close to 1 that they are equal, the nearest is first all the same.
    nearness = np.nansum([*signals.similarities.values()], axis=0)
    order = np.lexsort((signals.ids, -nearness, -scored.scores))
    order = order[~np.isin(signals.ids[order], question.left_out)]
    every = _taken(Ranked(signals.ids, scored.scores, scored.evidence), order)
    relevant = np.count_nonzero(every.scores >= _least(every, least))
    return _taken(every, np.arange(relevant))


def _least(ranked: Ranked, least: float | None) -> float:
    """The score from which on a hit belongs to the answer."""
    if least is not None:
        return least
    return scoring.least_score(float(ranked.scores[0]) if ranked.ids.size else 0.0)


def _taken(ranked: Ranked, places: NDArray[np.int64]) -> Ranked:
    return Ranked(
        ranked.ids[places],
        ranked.scores[places],
        {name: values[places] for name, values in ranked.evidence.items()},
    )


def _backgrounds(index: SpaceIndex, vectors: ByModality) -> dict[Modality, Background]:
    return {
        modality: Background.of(index.stores[modality].sample() @ vector)
        for modality, vector in vectors.items()
    }


def _similarities(
    index: SpaceIndex, modality: Modality, vectors: ByModality, ids: Ids, matches: Matches
) -> Scores:
    """Inner products of all candidates: those found have theirs, the others' are looked up."""
    similarities = np.full(ids.size, np.nan, dtype=np.float32)
    places = np.searchsorted(ids, matches.ids)
    similarities[places] = matches.scores
    others = np.ones(ids.size, dtype=np.bool_)
    others[places] = False
    if others.any():
        similarities[others] = index.stores[modality].scores(vectors[modality], ids[others])
    return similarities


def _highest_unseen(
    backgrounds: Mapping[Modality, Background], found: Mapping[Modality, Matches], depth: int
) -> float:
    """The most that an item could score which is no candidate yet."""
    unexhausted = {
        modality: float(matches.scores[-1])
        for modality, matches in found.items()
        if matches.ids.size >= depth
    }
    if not unexhausted:
        return 0.0
    return scoring.highest_unseen(
        {modality: backgrounds[modality] for modality in unexhausted}, unexhausted
    )
