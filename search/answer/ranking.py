"""The hits of a question: candidates by every signal, each scored by all of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final

import numpy as np

from embeddings.encoders.base import Modality
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
    """Items best first, equal scores by age."""

    ids: Ids
    scores: Numbers
    evidence: Mapping[str, Numbers]
    """By its name, of each item: see `scoring.Scored`."""


def rank(
    index: SpaceIndex,
    question: Question,
    *,
    allowed: IdSet | None,
    words: WordHits = NO_WORDS,
    least: float,
    wanted: int | None = None,
) -> Ranked:
    """Every item that scores `least` or more, up to MAX_HITS; or the `wanted` best of these.

    It is exact as far as the stores are: candidates are fetched ever deeper until none that is
    still missing could belong to the answer.
    """
    backgrounds = _backgrounds(index, question.vectors)
    limit = MAX_HITS if wanted is None else min(wanted, MAX_HITS)
    depth = FIRST_DEPTH if wanted is None else max(FIRST_DEPTH, wanted + len(question.left_out))
    while True:
        found = {
            modality: index.stores[modality].search(
                vector[np.newaxis], depth, allowed=allowed
            )[0]
            for modality, vector in question.vectors.items()
        }  # fmt: skip
        signals = gather(index, question, found, backgrounds, words)
        ranked = _ordered(signals, question, least=least)
        unseen = _highest_unseen(backgrounds, found, depth)
        kth = ranked.scores[limit - 1] if ranked.ids.size >= limit else -1.0
        if unseen < max(least, kth) or unseen <= 0 or depth >= MAX_HITS:
            break
        depth = min(DEEPER * depth, MAX_HITS)
    return Ranked(
        ranked.ids[:limit],
        ranked.scores[:limit],
        {name: values[:limit] for name, values in ranked.evidence.items()},
    )


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
        pushed=tuple(
            Pushed(
                weight,
                {m: index.stores[m].scores(vector, ids) for m, vector in vectors.items()},
                _backgrounds(index, vectors),
            )
            for weight, vectors in question.pushed
        ),
    )


def _ordered(signals: Signals, question: Question, *, least: float) -> Ranked:
    scored = scoring.score(signals)
    kept = (scored.scores >= least) & ~np.isin(signals.ids, question.left_out)
    ids, scores = signals.ids[kept], scored.scores[kept]
    order = np.lexsort((ids, -scores))
    return Ranked(
        ids[order],
        scores[order],
        {name: values[kept][order] for name, values in scored.evidence.items()},
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
