from __future__ import annotations

import pytest

from search.index.stores.faiss.plan import (
    EXACT_ROWS,
    GRAPH_ROWS,
    Kind,
    Plan,
    graph_bytes,
    plan_index,
    scan_is_cheaper,
)


@pytest.mark.parametrize(
    ("count", "memory_mb", "plan"),
    [
        (0, None, Plan(Kind.EXACT, "")),
        (EXACT_ROWS, 1, Plan(Kind.EXACT, "")),
        (EXACT_ROWS + 1, None, Plan(Kind.HNSW, "HNSW32,SQ8")),
        (GRAPH_ROWS, 200, Plan(Kind.HNSW, "HNSW32,SQ8")),
        (GRAPH_ROWS, 150, Plan(Kind.IVF, "IVF1024,RaBitQ")),
        (GRAPH_ROWS + 1, None, Plan(Kind.IVF, "IVF1024,RaBitQ")),
        (1_000_000, None, Plan(Kind.IVF, "IVF2048,RaBitQ")),
        (100_000, 60, Plan(Kind.IVF, "IVF512,RaBitQ")),
    ],
)
def test_plan_follows_size_and_memory(count: int, memory_mb: float | None, plan: Plan) -> None:
    assert plan_index(count=count, dimension=512, memory_mb=memory_mb) == plan


def test_what_is_there_is_kept_near_the_border() -> None:
    def kind(count: int, present: Kind) -> Kind:
        return plan_index(count=count, dimension=512, memory_mb=None, present=present).kind

    just_above, far_above = int(GRAPH_ROWS * 1.2), int(GRAPH_ROWS * 1.3)
    assert kind(just_above, Kind.HNSW) is Kind.HNSW
    assert kind(just_above, Kind.IVF) is Kind.IVF
    assert kind(far_above, Kind.HNSW) is Kind.IVF
    assert kind(GRAPH_ROWS, Kind.IVF) is Kind.HNSW


def test_a_graph_of_512_dimensions_stays_under_800_bytes_a_vector() -> None:
    assert graph_bytes(512) == 792


def test_narrow_filters_are_scanned_and_wide_ones_searched() -> None:
    assert scan_is_cheaper(rows=5_000, count=1_000_000, effort=64)
    assert not scan_is_cheaper(rows=500_000, count=1_000_000, effort=64)


def test_the_limit_of_exact_search_can_be_set() -> None:
    kinds = [
        plan_index(count=count, dimension=8, memory_mb=None, exact_rows=500).kind
        for count in (500, 501)
    ]

    assert kinds == [Kind.EXACT, Kind.HNSW]
