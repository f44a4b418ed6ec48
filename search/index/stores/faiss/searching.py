"""How a state answers: its segment by index or by scan, its delta exactly, merged."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from search.index.stores.base import Halves, Ids, IdSet, Matches, Scores, Vectors
from search.index.stores.faiss.ann import BLOCK_ROWS, SCAN_ROWS, AnnIndex, HalfBlock, Mask, Selector
from search.index.stores.faiss.blocks import ExactBlock, Near
from search.index.stores.faiss.frozen import State
from search.index.stores.faiss.plan import candidates, scan_is_cheaper
from search.index.stores.ranking import NO_MATCHES, best, exact_scores, merge

FEW_IDS: Final = 64
"""Looking an id up costs as much as passing over so many rows."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Places:
    """Where a state holds the ids of a set. Kept with the set, so it must not hold the state."""

    rows: NDArray[np.int64]
    """Live rows of the segment, ascending."""
    delta: Mask
    """Live rows of the delta."""
    segment_rows: int

    @classmethod
    def of(cls, state: State, ids: Ids) -> _Places:
        segment = state.segment
        if ids.size < len(segment) / FEW_IDS:
            rows = state.rows_of(ids)
            rows = np.sort(rows[rows >= 0])
        else:
            rows = np.flatnonzero(np.isin(segment.row_ids, ids) & state.live)
        return cls(rows, np.isin(state.delta_ids, ids) & state.delta_live, len(segment))

    @cached_property
    def selector(self) -> Selector:
        mask = np.zeros(self.segment_rows, np.bool_)
        mask[self.rows] = True
        return Selector(mask)


@dataclasses.dataclass(frozen=True)
class _Allowed:
    """Rows of a state that may be found."""

    state: State
    places: _Places | None
    """None: every live one."""

    @classmethod
    def of(cls, state: State, allowed: IdSet | None) -> _Allowed:
        if allowed is None:
            return cls(state, None)
        return cls(state, allowed.derived(state, lambda ids: _Places.of(state, ids)))

    @property
    def count(self) -> int:
        """Of the segment."""
        return self.state.live_rows if self.places is None else self.places.rows.size

    def listed(self) -> NDArray[np.int64]:
        """Of the segment, ascending."""
        return np.flatnonzero(self.state.live) if self.places is None else self.places.rows

    def selector(self) -> Selector | None:
        return self.state.live_selector if self.places is None else self.places.selector

    @property
    def delta(self) -> Mask:
        return self.state.delta_live if self.places is None else self.places.delta


def search(
    state: State, queries: Vectors, k: int, *, allowed: IdSet | None, effort: int
) -> list[Matches]:
    """Best `k` for each query; approximate where the segment's index is."""
    may_be_found = _Allowed.of(state, allowed)
    block, index = state.segment.block, state.segment.index
    found = [NO_MATCHES] * len(queries)
    if may_be_found.count and index is not None:
        found = _search_index(index, may_be_found, queries, k, effort)
    elif may_be_found.count and block is not None:
        wanted, selector = may_be_found.count, may_be_found.selector()
        found = [block.search(query, k, wanted=wanted, selector=selector) for query in queries]
    return _with_delta(may_be_found, found, queries, k)


def search_exactly(state: State, queries: Vectors, k: int) -> list[Matches]:
    """Best `k` for each query by reading every live vector."""
    every = _Allowed.of(state, None)
    return _with_delta(every, _scan(every, queries, k), queries, k)


def scores(state: State, query: NDArray[np.float32], ids: Ids) -> Scores:
    """Exact score of each id, NaN where it has no vector."""
    vectors, present = state.look_up(ids)
    return np.where(present, exact_scores(vectors, query), np.float32(np.nan))


def _search_index(
    index: AnnIndex, allowed: _Allowed, queries: Vectors, k: int, effort: int
) -> list[Matches]:
    """Candidates from the index, scored again from the float16 vectors.

    Where few rows are allowed a scan over them costs less and misses nothing; where many are,
    the effort grows as the allowed share shrinks.
    """
    segment = allowed.state.segment
    count = min(candidates(segment.kind, k, effort=effort), len(segment))
    effort = max(effort, index.least_effort(count))
    if scan_is_cheaper(rows=allowed.count, count=len(segment), effort=effort):
        return _scan(allowed, queries, k)
    effort = index.effort_for_share(effort, allowed.count / len(segment))
    answers = []
    for query, rows in zip(
        queries, index.search(queries, count, effort, allowed.selector()), strict=True
    ):
        near = np.sort(rows[rows >= 0])
        if near.size < min(k, allowed.count):  # too few allowed rows on the way to the query
            answers += _scan(allowed, query[None], k)
        else:
            scores = exact_scores(segment.fetch(near), query)
            answers.append(best(segment.row_ids[near], scores, k))
    return answers


def _scan(allowed: _Allowed, queries: Vectors, k: int) -> list[Matches]:
    """Exact answer over the allowed rows, read in blocks in the order of the file.

    One query reads every vector once: blocks that stay in the processor's cache make that three
    times cheaper, and that they lie in one place saves a page fault for each of its pages, which
    would cost most. Many queries share the reading.
    """
    size = SCAN_ROWS if len(queries) == 1 else BLOCK_ROWS
    rows, segment = allowed.listed(), allowed.state.segment
    found: list[list[Near]] = [[] for _ in queries]
    held = HalfBlock(segment.vectors[:0])
    for start in range(0, rows.size, size):
        part = rows[start : start + size]
        held.refill(segment.fetch(part))
        block = ExactBlock(segment.row_ids[part], held)
        for parts, query in zip(found, queries, strict=True):
            places, scores = block.near(query, k, wanted=part.size)
            parts.append(Near(part[places], scores))
    return [
        _best(parts, query, k, segment.row_ids, segment.fetch)
        for parts, query in zip(found, queries, strict=True)
    ]


def _with_delta(allowed: _Allowed, found: list[Matches], queries: Vectors, k: int) -> list[Matches]:
    state = allowed.state
    beside: list[list[Near]] = [[] for _ in queries]
    ends = accumulate((len(block.ids) for block in state.blocks), initial=0)
    for block, (start, stop) in zip(state.blocks, pairwise(ends), strict=True):
        mask = allowed.delta[start:stop]
        wanted = int(np.count_nonzero(mask))
        if not wanted:
            continue
        selector = None if wanted == mask.size else Selector(mask)
        for parts, query in zip(beside, queries, strict=True):
            places, scores = block.near(query, k, wanted=wanted, selector=selector)
            parts.append(Near(start + places, scores))
    ids = state.delta_ids
    return [
        merge(matches, _best(parts, query, k, ids, state.delta_vectors), k)
        for matches, parts, query in zip(found, beside, queries, strict=True)
    ]


def _best(
    parts: list[Near],
    query: NDArray[np.float32],
    k: int,
    ids: Ids,
    vectors: Callable[[NDArray[np.int64]], Halves],
) -> Matches:
    """Best `k` of the rows found in all parts, scored again; the id and the vector of each."""
    if not parts:
        return NO_MATCHES
    rows = np.sort(Near.of(parts, k).rows)
    return best(ids[rows], exact_scores(vectors(rows), query), k)
