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
from tests.plans import Plan, plan_of

KINDS = ("SELECT", "UPDATE", "DELETE")
TABLES = ("catalog_item", "embeddings_embedding", "embeddings_embeddingjob")


@pytest.mark.parametrize("name", ["lacking", "indexed", "failed"])
def test_subqueries_search_by_item(space: EmbeddingSpace, name: str) -> None:
    queries: dict[str, QuerySet[Item]] = {
        "lacking": items_lacking_vectors(space),
        "indexed": in_state(Item.objects.all(), ItemState.INDEXED),
        "failed": in_state(Item.objects.all(), ItemState.FAILED),
    }

    outer, *inner = plan_of(queries[name]).reads

    assert outer.table == "catalog_item"
    assert inner
    assert all("item_id" in read.columns for read in inner), inner


def test_the_oldest_claimable_jobs_come_from_their_index_in_order(space: EmbeddingSpace) -> None:
    plan = plan_of(jobs.claimable(space).values_list("pk", "error")[:64])

    (read,) = plan.reads
    assert (read.index, read.columns) == ("job_claimable", ("space_id", "run_after"))
    assert not plan.sorts


def test_jobs_in_work_come_from_their_index(space: EmbeddingSpace) -> None:
    (read,) = plan_of(jobs.in_work("a", "b")).reads
    assert (read.index, read.columns) == ("job_in_work", ("claimed_by",))


@pytest.mark.usefixtures("space")
def test_counting_jobs_reads_failed_rows_and_an_index() -> None:
    with CaptureQueriesContext(connection) as captured:
        states.waiting()
    _, failed, all_jobs = _plans(captured)
    assert [(read.index, read.columns) for read in failed.reads] == [("job_failed", ("space_id",))]
    assert [read.covering for read in all_jobs.reads] == [True]


def test_what_was_saved_lately_is_found_by_its_time(space: EmbeddingSpace) -> None:
    with CaptureQueriesContext(connection) as captured:
        jobs.enqueue_missing(space, since=timezone.now())
    found = [(read.index, read.columns) for plan in _plans(captured) for read in plan.reads]
    assert ("item_updated_at", ("updated_at",)) in found, found


@pytest.mark.usefixtures("space")
def test_enqueueing_and_draining_read_no_table_through() -> None:
    items = [Item.objects.create(item_id=str(n), caption=f"caption {n}") for n in range(3)]
    with CaptureQueriesContext(connection) as captured:
        jobs.enqueue([item.pk for item in items])
        assert worker.drain().indexed == 3
    through = [
        read
        for plan in _plans(captured)
        for read in plan.reads
        # The jobs in work are read through, by an index of them alone.
        if read.table in TABLES and not read.columns and read.index != "job_in_work"
    ]
    assert through == []
    updates = [read.index for plan in _plans(captured, "UPDATE") for read in plan.reads]
    assert updates
    assert "job_claimable" not in updates


def _plans(captured: CaptureQueriesContext, *kinds: str) -> list[Plan]:
    """Plans of the captured statements on our tables, of all kinds or of these."""
    statements = [query["sql"] for query in captured.captured_queries]
    return [
        plan_of(statement)
        for statement in statements
        if statement.startswith(kinds or KINDS) and any(table in statement for table in TABLES)
    ]
