"""Queries over all items stay linear, and what runs per batch reads a batch: by their plans."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from catalog.models import Item
from embeddings import jobs, states, worker
from embeddings.models import EmbeddingSpace
from embeddings.spaces import items_lacking_vectors
from embeddings.states import ItemState, in_state

KINDS = ("SELECT", "UPDATE", "DELETE")
TABLES = ("catalog_item", "embeddings_embedding", "embeddings_embeddingjob")


@pytest.mark.parametrize("name", ["lacking", "indexed", "failed"])
def test_subqueries_search_by_space_and_item(space: EmbeddingSpace, name: str) -> None:
    queries: dict[str, QuerySet[Item]] = {
        "lacking": items_lacking_vectors(space),
        "indexed": in_state(Item.objects.all(), ItemState.INDEXED),
        "failed": in_state(Item.objects.all(), ItemState.FAILED),
    }

    plan = queries[name].explain().splitlines()

    searches = [line for line in plan if "SEARCH" in line]
    assert searches
    assert all("(space_id=? AND item_id=?" in line for line in searches), plan


def test_the_oldest_claimable_jobs_come_from_their_index_in_order(space: EmbeddingSpace) -> None:
    plan = jobs.claimable(space).values_list("pk", "error")[:64].explain()

    assert "INDEX job_claimable (space_id=? AND run_after<?)" in plan
    assert "B-TREE" not in plan  # no sorting


def test_jobs_in_work_come_from_their_index(space: EmbeddingSpace) -> None:
    assert "INDEX job_in_work (claimed_by=?)" in jobs.in_work("a", "b").explain()


@pytest.mark.usefixtures("space")
def test_counting_jobs_reads_failed_rows_and_an_index() -> None:
    with CaptureQueriesContext(connection) as captured:
        states.waiting()
    _, failed, all_jobs = _plans(captured)
    assert "INDEX job_failed (space_id=?)" in failed
    assert "COVERING INDEX" in all_jobs


def test_what_was_saved_lately_is_found_by_its_time(space: EmbeddingSpace) -> None:
    with CaptureQueriesContext(connection) as captured:
        jobs.enqueue_missing(space, since=timezone.now())
    plans = _plans(captured)
    assert any("INDEX item_updated_at (updated_at>?)" in plan for plan in plans), plans


@pytest.mark.usefixtures("space")
def test_enqueueing_and_draining_read_no_table_through() -> None:
    items = [Item.objects.create(item_id=str(n), caption=f"caption {n}") for n in range(3)]
    with CaptureQueriesContext(connection) as captured:
        jobs.enqueue([item.pk for item in items])
        assert worker.drain().indexed == 3
    through = [
        line
        for plan in _plans(captured)
        for line in plan.splitlines()
        # The jobs in work are read through, by an index of them alone.
        if "SCAN" in line and any(t in line.split() for t in TABLES) and "job_in_work" not in line
    ]
    assert through == []
    assert not [plan for plan in _plans(captured, "UPDATE") if "job_claimable" in plan]


def _plans(captured: CaptureQueriesContext, *kinds: str) -> list[str]:
    """Plans of the captured statements on our tables, of all kinds or of these."""
    plans = []
    with connection.cursor() as cursor:
        for query in captured.captured_queries:
            sql = query["sql"]
            if sql.startswith(kinds or KINDS) and any(table in sql for table in TABLES):
                cursor.execute("EXPLAIN QUERY PLAN " + sql.replace("%", "%%"))
                plans.append("\n".join(row[3] for row in cursor.fetchall()))
    return plans
