"""What changes where one space answers in place of another."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np

from embeddings.models import EmbeddingSpace
from search.answer.answering import SearchResults, search
from search.answer.query import QueryError
from search.answer.syntax import ask
from search.comparison.lists import overlap, rank_correlation
from search.comparison.verdicts import Verdicts, verdicts
from search.evaluation.metrics import CUT, measure
from search.evaluation.qrels import JudgedQuery
from search.evaluation.systems import as_query
from search.index.space_index import synced_index
from search.models import ShadowAnswer

MOST_CHANGED: Final = 10
"""Queries that are shown at most: those whose answers differ most."""
MB: Final = 2**20


@dataclasses.dataclass(frozen=True)
class Change:
    """How two spaces answer one text."""

    text: str
    overlap: float
    """Share of the hits shown, CUT at most, that both show."""
    correlation: float
    """Kendall's tau-b of their order."""
    left: tuple[str, ...]
    """Item ids, best first."""
    right: tuple[str, ...]
    left_ms: float
    right_ms: float


@dataclasses.dataclass(frozen=True)
class Side:
    """One space's own figures."""

    space: int
    name: str
    p50_ms: float | None
    """Of encoding, index and rows, in the process that compares; None without texts."""
    p99_ms: float | None
    index_mb: float | None
    """What its vectors take in the memory of each process that answers from it; None where they
    take none, since a server holds them."""
    ndcg: float | None = None
    """Over the judged queries; None without any."""
    recall: float | None = None


@dataclasses.dataclass(frozen=True)
class ShadowFigures:
    """Means over live queries that were asked of both, as far as they are kept."""

    queries: int
    overlap: float
    correlation: float
    active_ms: float
    """Median."""
    other_ms: float


@dataclasses.dataclass(frozen=True)
class Comparison:
    queries: int
    overlap: float | None
    """Mean over the texts; None without any."""
    correlation: float | None
    left: Side
    right: Side
    most_changed: tuple[Change, ...]
    """Least alike first; none that is answered the same."""
    judged: int
    """Judged queries."""
    shadow: ShadowFigures | None
    verdicts: Verdicts


def compare_spaces(
    left: EmbeddingSpace,
    right: EmbeddingSpace,
    *,
    texts: Iterable[str],
    judged: Iterable[JudgedQuery] = (),
    on_query: Callable[[], None] = lambda: None,
) -> Comparison:
    """Ask both spaces the texts and the judged queries, alternating which is asked first.

    `on_query` is called after each. Raises EncoderError, SpaceError.
    """
    changes: list[Change] = []
    for text in texts:
        changes.append(compare_answers(left, right, text, swapped=bool(len(changes) % 2)))
        on_query()
    figures: list[tuple[float, float, float, float]] = []
    for query in judged:
        figures.append((*_judge(left, query), *_judge(right, query)))
        on_query()
    changed = [change for change in changes if change.left != change.right]
    ndcg_left, recall_left, ndcg_right, recall_right = _column_means(figures)
    return Comparison(
        queries=len(changes),
        overlap=_mean([change.overlap for change in changes]),
        correlation=_mean([change.correlation for change in changes]),
        left=_side(left, [change.left_ms for change in changes], ndcg_left, recall_left),
        right=_side(right, [change.right_ms for change in changes], ndcg_right, recall_right),
        most_changed=tuple(
            sorted(changed, key=lambda change: (change.overlap, change.correlation))[:MOST_CHANGED]
        ),
        judged=len(figures),
        shadow=shadow_figures(left, right),
        verdicts=verdicts(left, right),
    )


def compare_answers(
    left: EmbeddingSpace, right: EmbeddingSpace, text: str, *, swapped: bool = False
) -> Change:
    """Ask both one text, the right one first where `swapped`: the first one warms the rows."""
    query = ask(text, top_n=CUT)
    if swapped:
        answers = search(query, space=right), search(query, space=left)
        answers = answers[1], answers[0]
    else:
        answers = search(query, space=left), search(query, space=right)
    keys = [[hit.item.pk for hit in answer.hits] for answer in answers]
    return Change(
        text,
        overlap(*keys),
        rank_correlation(*keys),
        left=tuple(_ids(answers[0])),
        right=tuple(_ids(answers[1])),
        left_ms=answers[0].timings.total_ms,
        right_ms=answers[1].timings.total_ms,
    )


def shadow_figures(left: EmbeddingSpace, right: EmbeddingSpace) -> ShadowFigures | None:
    """What live queries showed of the two, whichever was active; None where none was asked."""
    answers = ShadowAnswer.objects.filter(active__in=[left, right], other__in=[left, right])
    rows = np.array(
        list(answers.values_list("overlap", "correlation", "active_ms", "other_ms"))
    ).reshape(-1, 4)
    if not len(rows):
        return None
    means, medians = rows[:, :2].mean(axis=0), np.median(rows[:, 2:], axis=0)
    return ShadowFigures(len(rows), *means.tolist(), *medians.tolist())


def _judge(space: EmbeddingSpace, judged: JudgedQuery) -> tuple[float, float]:
    """Both figures of one judged query; NaN where nothing answers it, or it cannot be asked."""
    try:
        hits = _ids(search(as_query(judged), space=space))
    except QueryError:
        return np.nan, np.nan
    found = measure(hits, judged.relevant)
    return found.ndcg, found.recall


def _side(
    space: EmbeddingSpace,
    durations: Sequence[float],
    ndcg: float | None = None,
    recall: float | None = None,
) -> Side:
    p50, p99 = np.percentile(durations, (50, 99)).tolist() if durations else (None, None)
    stats = [store.stats() for store in synced_index(space).stores.values()]
    index_mb = sum(each.bytes_per_vector * each.count for each in stats) / MB
    return Side(space.pk, str(space), p50, p99, index_mb or None, ndcg, recall)


def _ids(answer: SearchResults) -> list[str]:
    return [hit.item.item_id for hit in answer.hits]


def _column_means(figures: Sequence[tuple[float, ...]]) -> list[float | None]:
    """Of nDCG and recall, left and right; a query that has no figure does not count."""
    return [
        _mean([figure for figure in column if not np.isnan(figure)])
        for column in np.reshape(figures, (-1, 4)).T
    ]


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
