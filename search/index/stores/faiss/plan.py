"""Which index suits so many vectors in so much memory, and how a query is best answered by it."""

from __future__ import annotations

import dataclasses
import enum
import math
from typing import Final


class Kind(enum.StrEnum):
    """How the main segment is searched."""

    EXACT = "exact"
    HNSW = "hnsw"
    IVF = "ivf"


EXACT_ROWS: Final = 16_384
"""Up to here an exact scan of float16 vectors costs under 1 ms and approximation buys nothing."""
GRAPH_ROWS: Final = 250_000
"""Up to here a graph answers faster than lists of the same recall.

Of 100,000 clustered vectors of 512 it takes half the time. Of 500,000 it needs efSearch 384 for
a recall of 0.99 and takes longer than lists do, which are built in a fifth of the time and take
an eighth of the memory; of 1,000,000 it stays below 0.99 with efSearch 512.
"""
GRAPH_SLACK: Final = 1.25
"""A graph that is there is kept to so many times GRAPH_ROWS: no flapping at the border."""
GRAPH_LINKS: Final = 32
"""HNSW's M: links a node keeps a level, twice as many on the lowest."""
ID_BYTES: Final = 8
REPLAN_FACTOR: Final = 4
"""An index whose codes were learned from so many times fewer rows is built anew."""
EXTRA_CANDIDATES: Final = {Kind.EXACT: 0, Kind.HNSW: 20, Kind.IVF: 40}
"""Rows at least fetched beyond k and re-ranked: what quantised scores may misplace."""
EFFORTS: Final = {
    Kind.EXACT: (0,),
    Kind.HNSW: (32, 48, 64, 96, 128, 192, 256, 384, 512),
    Kind.IVF: (8, 16, 24, 32, 48, 64, 96, 128, 192, 256),
}
"""Operating points that tuning walks, least first."""
FIRST_EFFORT: Final = {Kind.EXACT: 0, Kind.HNSW: 64, Kind.IVF: 48}
"""Operating point of a new index, until it is tuned."""
ROWS_PER_EFFORT: Final = 40
"""Rows scanned exactly in the time that one more unit of effort takes.

Measured with 512 dimensions: 17 in a graph of 100,000 vectors, 70 in one of 1,000,000.
"""


@dataclasses.dataclass(frozen=True)
class Plan:
    """An index to build."""

    kind: Kind
    factory: str
    """FAISS's index_factory string; empty for exact search."""


def plan_index(
    *,
    count: int,
    dimension: int,
    memory_mb: float | None,
    present: Kind = Kind.EXACT,
    exact_rows: int | None = None,
) -> Plan:
    """Choose the index for `count` vectors; `memory_mb` bounds index and ids.

    `present` is what the index is now; up to `exact_rows` (EXACT_ROWS) vectors it is exact.
    """
    if count <= (EXACT_ROWS if exact_rows is None else exact_rows):
        return Plan(Kind.EXACT, "")
    fits = memory_mb is None or count * graph_bytes(dimension) <= memory_mb * 2**20
    if fits and count <= GRAPH_ROWS * (GRAPH_SLACK if present is Kind.HNSW else 1):
        return Plan(Kind.HNSW, f"HNSW{GRAPH_LINKS},SQ8")
    lists = 2 ** round(math.log2(2 * math.sqrt(count)))
    return Plan(Kind.IVF, f"IVF{lists},RaBitQ")


def graph_bytes(dimension: int) -> int:
    """Bytes a vector takes in memory as a node of the graph: code, links, level, offset, id."""
    return dimension + 2 * GRAPH_LINKS * 4 + 16 + ID_BYTES


def candidates(kind: Kind, k: int, *, effort: int) -> int:
    """How many rows to fetch and re-rank for the best `k`.

    One bit a dimension misplaces more than eight: lists widen this with their effort.
    """
    widened = effort if kind is Kind.IVF else 0
    return k + max(k, widened, EXTRA_CANDIDATES[kind])


def scan_is_cheaper(*, rows: int, count: int, effort: int) -> bool:
    """Whether scanning `rows` allowed ones of `count` beats searching the index for them.

    A search must look at about effort / share rows until `effort` allowed ones turned up.
    """
    return rows * rows <= ROWS_PER_EFFORT * effort * count
