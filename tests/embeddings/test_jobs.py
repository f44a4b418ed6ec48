from __future__ import annotations

import subprocess
import sys
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from catalog.models import Item
from embeddings import jobs, worker
from embeddings.models import EmbeddingJob, EmbeddingSpace
from tests import nudges


def dead_process() -> str:
    """The id of a process of this host that is no more."""
    code = (
        "import django; django.setup()\n"
        "from embeddings import presence; print(presence.process_id())"
    )
    return subprocess.check_output([sys.executable, "-c", code], text=True).strip()


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
    nudges.forget()
    make_items(5)

    assert nudges.queued() == ["embeddings.tasks.embed_pending"]


def test_claim_takes_each_job_once(space: EmbeddingSpace) -> None:
    items = make_items(3)

    first = jobs.claim([space], 2)
    second = jobs.claim([space], 2)

    assert first is not None
    assert second is not None
    assert first.item_ids == (items[0].pk, items[1].pk)
    assert second.item_ids == (items[2].pk,)
    assert jobs.claim([space], 2) is None


def test_an_ended_lease_is_taken_back_and_claimed_again_alone(space: EmbeddingSpace) -> None:
    items = make_items(3)
    claim = jobs.claim([space], 2)
    assert claim is not None
    jobs.in_work(claim.token).update(claimed_until=timezone.now() - timedelta(seconds=1))

    assert jobs.reclaim_dead() == 2
    again = jobs.claim([space], 10)

    assert again is not None
    assert (again.item_ids, again.alone) == ((items[0].pk,), True)


def test_a_failure_waits_longer_each_time_and_the_third_is_final(space: EmbeddingSpace) -> None:
    (item,) = make_items(1)
    waits = []
    for _ in range(jobs.MAX_ATTEMPTS):
        EmbeddingJob.objects.update(run_after=timezone.now())
        claim = jobs.claim([space], 1)
        assert claim is not None
        before = timezone.now()
        jobs.fail(claim.token, {item.pk: "no luck"})
        job = EmbeddingJob.objects.get()
        waits.append(round((job.run_after - before).total_seconds()))

    assert waits[:2] == [5, 30]
    assert job.failed_at is not None
    assert job.error == "no luck"
    assert jobs.claim([space], 1) is None


def die(claim: jobs.Claim) -> None:
    """As if the process of the claim had been killed."""
    jobs.in_work(claim.token).update(claimed_until=Now() - timedelta(seconds=1))
    jobs.reclaim_dead()


def test_an_item_whose_worker_dies_each_time_fails_with_that_reason(space: EmbeddingSpace) -> None:
    make_items(1)
    deaths = 0
    while (claim := jobs.claim([space], 5)) is not None:
        die(claim)
        deaths += 1

    assert deaths == jobs.MAX_ATTEMPTS + 1  # the first, when it was not suspected, does not count
    job = EmbeddingJob.objects.get()
    assert job.error == "The worker died while it embedded this item alone."
    assert job.failed_at is not None


def test_deaths_beside_others_fail_no_healthy_item(space: EmbeddingSpace) -> None:
    items = make_items(4)
    killer = items[0].pk
    embedded: set[int] = set()
    while (claim := jobs.claim([space], 5)) is not None:
        if killer in claim.item_ids:
            die(claim)
        else:
            embedded.update(claim.item_ids)
            jobs.in_work(claim.token).delete()

    assert embedded == {item.pk for item in items[1:]}
    assert EmbeddingJob.objects.get().item_id == killer


def test_workers_killed_by_others_meet_another_item_each_time(space: EmbeddingSpace) -> None:
    make_items(8)
    for _ in range(8):
        claim = jobs.claim([space], 8)
        assert claim is not None
        die(claim)

    assert sorted(EmbeddingJob.objects.values_list("attempts", flat=True)) == [0, *[1] * 7]


def test_nothing_is_claimed_beside_a_suspect_nor_a_suspect_beside_others(
    space: EmbeddingSpace,
) -> None:
    items = make_items(3)
    EmbeddingJob.objects.filter(item=items[0]).update(error=jobs.SUSPECTED)

    assert jobs.claim([space], 5, beside=True) is None
    suspect = jobs.claim([space], 5)
    assert suspect is not None
    assert (suspect.item_ids, suspect.alone) == ((items[0].pk,), True)
    others = jobs.claim([space], 5, beside=True)
    assert others is not None
    assert (others.item_ids, others.alone) == ((items[1].pk, items[2].pk), False)


def test_retry_failed_gives_fresh_attempts(space: EmbeddingSpace) -> None:
    items = make_items(2)
    EmbeddingJob.objects.update(attempts=3, failed_at=timezone.now(), error="no luck")

    assert jobs.retry_failed([items[0].pk]) == 1

    retried, failed = EmbeddingJob.objects.order_by("item_id")
    assert (retried.attempts, retried.error, retried.failed_at) == (0, "", None)
    assert failed.failed_at is not None
    assert jobs.claim([space], 5).item_ids == (items[0].pk,)  # type: ignore[union-attr]


def test_editing_an_item_takes_its_lease_away(space: EmbeddingSpace) -> None:
    (item,) = make_items(1)
    claim = jobs.claim([space], 1)
    item.caption = "other words"
    item.save()

    again = jobs.claim([space], 1)
    assert claim is not None
    assert again is not None
    assert again.item_ids == (item.pk,)
    assert again.token != claim.token


@pytest.mark.parametrize("failed", [True, False])
def test_a_caption_put_back_to_the_embedded_one_starts_the_job_anew(
    indexed_items: dict[str, Item], failed: bool
) -> None:
    item = indexed_items["words"]
    embedded = item.caption
    item.caption = "broken"
    item.save()
    if failed:
        EmbeddingJob.objects.update(attempts=3, failed_at=timezone.now(), error="no luck")
    item.caption = embedded
    item.save()

    job = EmbeddingJob.objects.get()
    assert (job.attempts, job.error, job.failed_at) == (0, "", None)
    assert worker.drain().indexed == 1
    assert not EmbeddingJob.objects.exists()


def test_saving_without_new_content_enqueues_nothing(indexed_items: dict[str, Item]) -> None:
    item = indexed_items["words"]
    item.title = "Another title"
    item.save()

    assert not EmbeddingJob.objects.exists()
    assert jobs.re_embed([item.pk]) == 1


def test_leases_of_a_dead_process_come_back_at_once(space: EmbeddingSpace) -> None:
    make_items(2)
    EmbeddingJob.objects.update(
        claimed_by=f"{dead_process()}:abc", claimed_until=Now() + jobs.LEASE
    )
    assert jobs.claim([space], 5) is None

    assert jobs.reclaim_dead() == 2
    assert jobs.claim([space], 5) is not None
    assert set(EmbeddingJob.objects.values_list("attempts", "error")) == {(0, jobs.SUSPECTED)}


def test_leases_of_another_host_stay_until_they_end(space: EmbeddingSpace) -> None:
    make_items(1)
    elsewhere = EmbeddingJob.objects.all()
    elsewhere.update(claimed_by="0123456789abcdef:abc", claimed_until=Now() + jobs.LEASE)
    assert jobs.reclaim_dead() == 0

    elsewhere.update(claimed_until=Now() - timedelta(seconds=1))
    assert jobs.reclaim_dead() == 1


def test_leases_of_a_living_process_stay(space: EmbeddingSpace) -> None:
    make_items(1)
    jobs.claim([space], 1)

    assert jobs.reclaim_dead() == 0
    assert jobs.claim([space], 1) is None
