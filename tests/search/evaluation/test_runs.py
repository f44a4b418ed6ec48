"""Figures brought together, and the tables made of them."""

from __future__ import annotations

import math

import pytest

from search.evaluation.qrels import JudgedQuery, Kind
from search.evaluation.report import as_json, as_markdown, best_single
from search.evaluation.runs import Run, collect, judge
from search.evaluation.systems import OURS, OURS_RANKED

QUERIES = [
    JudgedQuery(kind=Kind.TYPO, query="one", relevant={"a": 3}),
    JudgedQuery(kind=Kind.TYPO, query="two", relevant={"b": 3}),
    JudgedQuery(kind=Kind.SYNONYM, query="three", relevant={"a": 3}),
    JudgedQuery(kind=Kind.NONSENSE, query="qqq", relevant={}),
]
HITS = [
    {OURS: ["a"], OURS_RANKED: ["a", "b"], "words": ["a"], "text vectors": ["b", "a"]},
    {OURS: ["b", "a"], OURS_RANKED: ["b", "a"], "words": [], "text vectors": ["b", "a"]},
    {OURS: [], OURS_RANKED: ["a", "b"], "words": [], "text vectors": ["a", "b"]},
    {OURS: ["b"], OURS_RANKED: ["b", "a"], "words": [], "text vectors": ["b", "a"]},
]
SECOND = 1 / math.log2(3)


@pytest.fixture
def run() -> Run:
    return collect(judge(QUERIES, HITS))


def test_means_over_all_kinds_count_each_kind_the_same(run: Run) -> None:
    assert run.mean("words", "ndcg", Kind.TYPO) == 0.5
    assert run.mean("words", "ndcg", Kind.SYNONYM) == 0
    assert run.mean("words", "ndcg") == 0.25
    assert run.mean("text vectors", "ndcg") == pytest.approx(((SECOND + 1) / 2 + 1) / 2)


def test_the_share_leaves_out_queries_that_show_nothing(run: Run) -> None:
    assert run.mean(OURS, "share", Kind.TYPO) == 0.75
    assert math.isnan(run.mean(OURS, "share", Kind.SYNONYM))
    assert run.mean(OURS, "irrelevant", Kind.NONSENSE) == 1


def test_the_best_signal_is_chosen_among_signals_alone(run: Run) -> None:
    assert best_single(run) == "text vectors"
    mean, low, high = run.lead(OURS_RANKED, "text vectors", Kind.TYPO)
    assert mean == pytest.approx((1 - SECOND) / 2)
    assert low <= mean <= high


def test_tables_name_every_kind_and_way(run: Run) -> None:
    text = as_markdown(run)
    assert "| nDCG@10 | typo | synonym | all kinds |" in text
    assert "| **ours** | 1.000 | 0.000 | 0.500 |" in text
    assert "| words | 0.500 | 0.000 | 0.250 |" in text
    assert "| typo | text vectors | +0.185 |" in text
    assert "| typo | 2 | 0 | 1.5 | 0.5 | 0.750 |" in text
    assert "| nonsense | 1 | 0 | 1.0 | 1.0 | 0.000 |" in text


def test_json_holds_the_same_figures(run: Run) -> None:
    found = as_json(run)
    assert found["queries"] == {"typo": 2, "synonym": 1, "nonsense": 1}
    assert found["systems"]["words"]["all kinds"]["ndcg"] == 0.25
    assert found["systems"][OURS]["synonym"]["share"] is None
    assert found["leads"]["typo"]["over"] == "text vectors"
