"""How a state answers: its segment by index or by scan, its delta exactly, merged."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from search.index.stores.base import Ids, Matches, Vectors
from search.index.stores.faiss.ann import BLOCK_ROWS, SCAN_ROWS, AnnIndex, Selector
from search.index.stores.faiss.blocks import ExactBlock, places_in
from search.index.stores.faiss.frozen import State
from search.index.stores.faiss.plan import candidates, scan_is_cheaper
from search.index.stores.ranking import NO_MATCHES, best, exact_scores, merge


@dataclasses.dataclass(frozen=True)
class _Allowed:
    """Rows of a state's segment that may be found."""

    state: State
    rows: NDArray[np.int64] | None
    """None: every live one."""

    @classmethod
    def of(cls, state: State, allowed_ids: Ids | None) -> _Allowed:
        if allowed_ids is None:
            return cls(state, None)
        rows = state.rows_of(allowed_ids)
        return cls(state, np.sort(rows[rows >= 0]))

    @cached_property
    def count(self) -> int:
        return self.state.live_rows if self.rows is None else self.rows.size

    def listed(self) -> NDArray[np.int64]:
        """Ascending."""
        return np.flatnonzero(self.state.live) if self.rows is None else self.rows

    def selector(self) -> Selector | None:
        if self.rows is None:
            return self.state.live_selector
        mask = np.zeros(len(self.state.segment), np.bool_)
        mask[self.rows] = True
        return Selector(mask)


def search(
    state: State, queries: Vectors, k: int, *, allowed_ids: Ids | None, effort: int
) -> list[Matches]:
    """Best `k` for each query; approximate where the segment's index is."""
    allowed = _Allowed.of(state, allowed_ids)
    block, index = state.segment.block, state.segment.index
    found = [NO_MATCHES] * len(queries)
    if allowed.count and index is not None:
        found = _search_index(index, allowed, queries, k, effort)
    elif allowed.count and block is not None:
        selector = allowed.selector()
        found = [
            block.search(query, k, wanted=allowed.count, selector=selector) for query in queries
        ]
    return _with_delta(state, found, queries, k, allowed_ids=allowed_ids)


def search_exactly(state: State, queries: Vectors, k: int) -> list[Matches]:
    """Best `k` for each query by reading every live vector."""
    found = _scan(_Allowed.of(state, None), queries, k)
    return _with_delta(state, found, queries, k, allowed_ids=None)


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
            scores = exact_scores(segment.vectors[near], query)
            answers.append(best(segment.row_ids[near], scores, k))
    return answers


def _scan(allowed: _Allowed, queries: Vectors, k: int) -> list[Matches]:
    """Exact answer over the allowed rows, read in blocks in the order of the file.

    One query reads every vector once: blocks that stay in the processor's cache make that three
    times cheaper. Many queries share the reading.
    """
    size = SCAN_ROWS if len(queries) == 1 else BLOCK_ROWS
    answers = [NO_MATCHES] * len(queries)
    rows, segment = allowed.listed(), allowed.state.segment
    for start in range(0, rows.size, size):
        part = rows[start : start + size]
        block = ExactBlock.of(segment.row_ids[part], segment.vectors[part])
        for number, query in enumerate(queries):
            found = block.search(query, k, wanted=part.size)
            answers[number] = merge(answers[number], found, k)
    return answers


def _with_delta(
    state: State, found: list[Matches], queries: Vectors, k: int, *, allowed_ids: Ids | None
) -> list[Matches]:
    answers = list(found)
    ends = accumulate((len(block.ids) for block in state.blocks), initial=0)
    for block, (start, stop) in zip(state.blocks, pairwise(ends), strict=True):
        mask = state.delta_live[start:stop]
        if allowed_ids is not None:
            mask = mask & (places_in(allowed_ids, block.ids) >= 0)
        wanted = int(np.count_nonzero(mask))
        if not wanted:
            continue
        selector = None if wanted == mask.size else Selector(mask)
        for number, query in enumerate(queries):
            extra = block.search(query, k, wanted=wanted, selector=selector)
            answers[number] = merge(answers[number], extra, k)
    return answers
