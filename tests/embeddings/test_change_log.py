"""Writers of the change log beside each other, in transactions of their own.

SQLite lets one of them begin when the other has ended; elsewhere they wait where they would harm
each other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from django.db import connection, transaction

from catalog.deletion import delete_items
from catalog.models import Item
from embeddings import jobs, worker
from embeddings.encoding import Encoded
from embeddings.models import Embedding, EmbeddingJob, VectorChange
from embeddings.spaces import require_active_space
from search.index import maintenance
from search.index.space_index import SpaceIndex, synced_index

pytestmark = pytest.mark.django_db(transaction=True)

WHILE_OPEN = 1.0
"""Seconds that a transaction is kept open for another to overtake it, which it must not."""


def one_by_one(item: Item) -> None:
    item.delete()


def in_a_batch(item: Item) -> None:
    assert list(delete_items(Item.objects.filter(pk=item.pk))) == [1]


deletions = pytest.mark.parametrize("delete", [one_by_one, in_a_batch])


def beside(work: Callable[[], object]) -> Future[object]:
    """Begin work in a thread with a connection of its own."""

    def run() -> object:
        try:
            return work()
        finally:
            connection.close()

    pool = ThreadPoolExecutor(1)
    future = pool.submit(run)
    pool.shutdown(wait=False)
    return future


def agreement(index: SpaceIndex) -> list[tuple[int, int]]:
    return [(each.missing, each.surplus) for each in maintenance.compare(index)]


@deletions
def test_a_deletion_that_is_committed_late_leaves_no_ghost(
    delete: Callable[[Item], None], make_item: Callable[..., Item]
) -> None:
    ghost, other = make_item(caption="a ghost"), make_item(caption="another")
    worker.drain()
    Item.objects.filter(pk=other.pk).update(caption="changed", caption_hash="changed")
    jobs.enqueue([other.pk])
    index, gone = synced_index(), ghost.pk
    assert agreement(index) == [(0, 0), (0, 0)]

    with transaction.atomic():
        delete(ghost)
        overtaking = beside(worker.drain)
        with pytest.raises(TimeoutError):
            overtaking.result(WHILE_OPEN)
        lines = VectorChange.objects.order_by("seq").values_list("vector_item", flat=True)
        assert lines.last() == gone
    assert overtaking.result() == worker.DrainReport(indexed=1)

    assert [*lines][-2:] == [gone, other.pk]
    assert agreement(index) == [(0, 0), (0, 0)]


@deletions
def test_a_vector_is_committed_before_its_item_is_gone_or_never(
    delete: Callable[[Item], None], make_item: Callable[..., Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    item = make_item(caption="doomed")
    encoded, deleting = threading.Event(), threading.Event()
    encode = worker._encode

    def slow(batch: worker._Batch) -> Encoded:
        vectors = encode(batch)
        encoded.set()
        assert deleting.wait(60)
        return vectors

    monkeypatch.setattr(worker, "_encode", slow)
    embedding = beside(worker.drain)
    assert encoded.wait(60)
    with transaction.atomic():
        delete(item)
        deleting.set()
        with pytest.raises(TimeoutError):
            embedding.result(WHILE_OPEN)
    assert embedding.result() == worker.DrainReport()

    assert (Embedding.objects.count(), EmbeddingJob.objects.count()) == (0, 0)
    assert agreement(synced_index()) == [(0, 0), (0, 0)]


@deletions
def test_an_item_that_is_enqueued_while_it_goes_fails_neither(
    delete: Callable[[Item], None], make_item: Callable[..., Item]
) -> None:
    item = make_item(caption="doomed")
    EmbeddingJob.objects.all().delete()  # as if its nudge and job had been lost
    space = require_active_space()
    with transaction.atomic():
        delete(item)
        sweeping = beside(lambda: jobs.enqueue_missing(space))
        with pytest.raises(TimeoutError):
            sweeping.result(WHILE_OPEN)
    assert sweeping.result() == 0

    kept = make_item(caption="kept")
    EmbeddingJob.objects.all().delete()
    with transaction.atomic():
        jobs.enqueue([kept.pk])
        deleting = beside(lambda: delete(Item.objects.get(pk=kept.pk)))
        with pytest.raises(TimeoutError):
            deleting.result(WHILE_OPEN)
    deleting.result()
    assert (Item.objects.count(), EmbeddingJob.objects.count()) == (0, 0)
