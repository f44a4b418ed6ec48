from __future__ import annotations

import subprocess
import sys
from datetime import timedelta

import pytest
from django.utils import timezone
from django_q.models import OrmQ

from catalog.models import Item
from embeddings import jobs
from embeddings.models import EmbeddingJob, EmbeddingSpace


def make_items(count: int) -> list[Item]:
    return [Item.objects.create(item_id=f"i{n}", caption=f"caption {n}") for n in range(count)]


def test_saving_an_item_writes_its_job_in_the_same_transaction(space: EmbeddingSpace) -> None:
    item = Item.objects.create(item_id="a", caption="words")

    job = EmbeddingJob.objects.get()
    assert (job.space, job.item, job.attempts, job.error) == (space, item, 0, "")


@pytest.mark.django_db
def test_without_a_space_nothing_is_enqueued_until_one_opens() -> None:
    from embeddings.opening import open_space

    Item.objects.create(item_id="a", caption="words")
    assert not EmbeddingJob.objects.exists()

    assert open_space().enqueued == 1
    assert EmbeddingJob.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_many_saves_send_one_nudge(space: EmbeddingSpace) -> None:
    make_items(5)

    assert [task.func() for task in OrmQ.objects.all()] == ["embeddings.tasks.embed_pending"]


def test_claim_takes_each_job_once(space: EmbeddingSpace) -> None:
    items = make_items(3)

    first = jobs.claim(space, 2)
    second = jobs.claim(space, 2)

    assert first is not None
    assert second is not None
    assert first.item_ids == (items[0].pk, items[1].pk)
    assert second.item_ids == (items[2].pk,)
    assert jobs.claim(space, 2) is None


def test_an_ended_lease_is_claimed_again_and_alone(space: EmbeddingSpace) -> None:
    items = make_items(3)
    claim = jobs.claim(space, 2)
    assert claim is not None
    EmbeddingJob.objects.filter(claimed_by=claim.token).update(
        claimed_until=timezone.now() - timedelta(seconds=1)
    )

    again = jobs.claim(space, 10)

    assert again is not None
    assert again.item_ids == (items[0].pk,)


def test_a_failure_waits_longer_each_time_and_the_third_is_final(space: EmbeddingSpace) -> None:
    (item,) = make_items(1)
    waits = []
    for _ in range(jobs.MAX_ATTEMPTS):
        EmbeddingJob.objects.update(run_after=timezone.now())
        claim = jobs.claim(space, 1)
        assert claim is not None
        before = timezone.now()
        jobs.fail(claim.token, {item.pk: "no luck"})
        job = EmbeddingJob.objects.get()
        waits.append(round((job.run_after - before).total_seconds()))

    assert waits[:2] == [5, 30]
    assert job.failed_at is not None
    assert job.error == "no luck"
    assert jobs.claim(space, 1) is None


def test_an_item_whose_worker_dies_each_time_fails_with_that_reason(space: EmbeddingSpace) -> None:
    make_items(1)
    EmbeddingJob.objects.update(attempts=jobs.MAX_ATTEMPTS)

    assert jobs.claim(space, 1) is None
    job = EmbeddingJob.objects.get()
    assert job.error == "The worker died each of the 3 times it embedded this item."
    assert job.failed_at is not None


def test_retry_failed_gives_fresh_attempts(space: EmbeddingSpace) -> None:
    items = make_items(2)
    EmbeddingJob.objects.update(attempts=3, failed_at=timezone.now(), error="no luck")

    assert jobs.retry_failed([items[0].pk]) == 1

    retried, failed = EmbeddingJob.objects.order_by("item_id")
    assert (retried.attempts, retried.error, retried.failed_at) == (0, "", None)
    assert failed.failed_at is not None
    assert jobs.claim(space, 5).item_ids == (items[0].pk,)  # type: ignore[union-attr]


def test_editing_an_item_takes_its_lease_away(space: EmbeddingSpace) -> None:
    (item,) = make_items(1)
    claim = jobs.claim(space, 1)
    item.caption = "other words"
    item.save()

    again = jobs.claim(space, 1)
    assert claim is not None
    assert again is not None
    assert again.item_ids == (item.pk,)
    assert again.token != claim.token


def test_saving_without_new_content_enqueues_nothing(indexed_items: dict[str, Item]) -> None:
    item = indexed_items["words"]
    item.title = "Another title"
    item.save()

    assert not EmbeddingJob.objects.exists()
    assert jobs.re_embed([item.pk]) == 1


def test_leases_of_a_dead_process_come_back_at_once(space: EmbeddingSpace) -> None:
    make_items(2)
    code = "import psutil, os; print(int(psutil.Process().create_time() * 100), os.getpid())"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    created, pid = out.stdout.split()
    host = jobs.process_name().split(":")[0]
    EmbeddingJob.objects.update(
        claimed_by=f"{host}:{pid}:{created}:abc",
        claimed_until=timezone.now() + jobs.LEASE,
        attempts=1,
    )
    assert jobs.claim(space, 5) is None

    assert jobs.reclaim_dead() == 2
    assert jobs.claim(space, 5) is not None


def test_leases_of_a_living_process_stay(space: EmbeddingSpace) -> None:
    make_items(1)
    jobs.claim(space, 1)

    assert jobs.reclaim_dead() == 0
    assert jobs.claim(space, 1) is None
