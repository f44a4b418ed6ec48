"""Judged queries put to every way of answering them, and what their figures say together."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from search.evaluation.metrics import Figures, interval, measure
from search.evaluation.qrels import JudgedQuery, Kind

ANSWERABLE: Final = tuple(kind for kind in Kind if kind is not Kind.NONSENSE)


@dataclasses.dataclass(frozen=True)
class Run:
    """What every way of answering came to, query by query, in one order for all."""

    queries: Sequence[JudgedQuery]
    figures: Mapping[str, Sequence[Figures]]
    """By the name of the way."""

    def values(self, system: str, name: str, kind: Kind | None = None) -> NDArray[np.float64]:
        """One figure of each query of a kind, or of all that something answers, float64 (n,)."""
        return np.array(
            [
                getattr(figures, name)
                for query, figures in zip(self.queries, self.figures[system], strict=True)
                if (query.kind is kind if kind else query.kind is not Kind.NONSENSE)
            ],
            dtype=np.float64,
        )

    def kinds(self) -> list[Kind]:
        """Kinds of query that there are."""
        there = {query.kind for query in self.queries}
        return [kind for kind in Kind if kind in there]

    def mean(self, system: str, name: str, kind: Kind | None = None) -> float:
        """Of a kind; over all kinds each of them counts the same, however many queries it has.

        Queries without the figure (a share where nothing is shown) are left out.
        """
        if kind is None:
            means = [self.mean(system, name, each) for each in self.kinds() if each in ANSWERABLE]
            return float(np.mean(means)) if means else float("nan")
        values = self.values(system, name, kind)
        there = values[~np.isnan(values)]
        return float(there.mean()) if there.size else float("nan")

    def lead(self, system: str, over: str, kind: Kind) -> tuple[float, float, float]:
        """By how much one way's nDCG is above another's: the mean, and its interval, paired."""
        differences = self.values(system, "ndcg", kind) - self.values(over, "ndcg", kind)
        return float(differences.mean()), *interval(differences)


def judge(
    queries: Sequence[JudgedQuery], hits: Iterable[Mapping[str, Sequence[str]]]
) -> Iterator[tuple[JudgedQuery, dict[str, Figures]]]:
    """The figures of each query, from the hits of every way of answering it."""
    for query, found in zip(queries, hits, strict=False):
        yield query, {name: measure(items, query.relevant) for name, items in found.items()}


def collect(judged: Iterable[tuple[JudgedQuery, Mapping[str, Figures]]]) -> Run:
    """All that was judged."""
    queries: list[JudgedQuery] = []
    figures: dict[str, list[Figures]] = {}
    for query, by_system in judged:
        queries.append(query)
        for name, each in by_system.items():
            figures.setdefault(name, []).append(each)
    return Run(queries, figures)
