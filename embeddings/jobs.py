"""The durable queue: one row an item that waits, claimed by compare-and-swap under a lease.

django-q2 carries only nudges. Losing one loses nothing: the rows stay, and the sweep finds them.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import socket
import uuid
from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import islice
from typing import Final

import psutil
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from embeddings.models import EmbeddingJob, EmbeddingSpace
from embeddings.spaces import active_space, items_lacking_vectors

logger = logging.getLogger(__name__)

LEASE: Final = timedelta(seconds=120)
MAX_ATTEMPTS: Final = 3
RETRY_DELAYS: Final = (timedelta(seconds=5), timedelta(seconds=30))
"""Wait after the first and the second failed attempt."""
WRITE_BATCH: Final = 1000
"""Rows a statement."""
DIED: Final = "The worker died each of the {attempts} times it embedded this item."


@dataclasses.dataclass(frozen=True)
class Claim:
    """Jobs that this process alone may work on until the lease ends."""

    token: str
    item_ids: tuple[int, ...]


def enqueue(item_ids: Iterable[int], *, force: bool = False) -> int:
    """Enqueue items whose content has no vector yet; with `force` all of them. Returns how many.

    Joins the caller's transaction. A job in progress loses its lease: what it embeds is outdated.
    """
    space = active_space()
    if space is None:  # opening a space enqueues everything it lacks
        return 0
    enqueued = 0
    with transaction.atomic():
        # A tried job waits out its delay without a nudge; a fresh one has its nudge on the way.
        idle = not claimable(space).filter(attempts=0).exists()
        for chunk in _chunks(item_ids):
            if not force:
                lacking = items_lacking_vectors(space).filter(pk__in=chunk)
                chunk = list(lacking.values_list("pk", flat=True))  # noqa: PLW2901
            _write_rows(space, chunk)
            enqueued += len(chunk)
        if enqueued and idle:
            transaction.on_commit(nudge)
    return enqueued


def enqueue_missing(space: EmbeddingSpace) -> int:
    """Enqueue every item that has neither vector nor job in `space`. Returns how many."""
    missing = items_lacking_vectors(space).exclude(
        pk__in=EmbeddingJob.objects.filter(space=space).values("item_id")
    )
    enqueued = 0
    with transaction.atomic():
        for chunk in _chunks(missing.order_by("pk").values_list("pk", flat=True).iterator()):
            _write_rows(space, chunk)
            enqueued += len(chunk)
        if enqueued:
            transaction.on_commit(nudge)
    return enqueued


def re_embed(item_ids: Iterable[int]) -> int:
    """Embed items again, whatever vectors they have. Returns how many."""
    return enqueue(item_ids, force=True)


def retry_failed(item_ids: Iterable[int] | None = None) -> int:
    """Give failed jobs (of `item_ids`, or all) a fresh set of attempts. Returns how many."""
    failed = EmbeddingJob.objects.filter(space__state="active", failed_at__isnull=False)
    if item_ids is not None:
        failed = failed.filter(item_id__in=list(item_ids))
    return enqueue(list(failed.values_list("item_id", flat=True)), force=True)


def claimable(space: EmbeddingSpace) -> QuerySet[EmbeddingJob]:
    """Jobs that a worker may claim now, oldest first."""
    now = timezone.now()
    free = Q(claimed_until__isnull=True) | Q(claimed_until__lt=now)
    return EmbeddingJob.objects.filter(
        free, space=space, failed_at__isnull=True, run_after__lte=now
    ).order_by("run_after", "pk")


def claim(space: EmbeddingSpace, limit: int) -> Claim | None:
    """Claim up to `limit` waiting jobs, or None where none waits.

    A job that was tried before is claimed alone, so that an item which kills the process takes no
    others with it. One whose process died MAX_ATTEMPTS times fails here.
    """
    with transaction.atomic():
        waiting = list(claimable(space).values_list("pk", "attempts")[:limit])
        while exhausted := [pk for pk, attempts in waiting if attempts >= MAX_ATTEMPTS]:
            _fail_exhausted(exhausted)
            waiting = list(claimable(space).values_list("pk", "attempts")[:limit])
        if not waiting:
            return None
        fresh = [pk for pk, attempts in waiting if attempts == 0]
        chosen = [waiting[0][0]] if waiting[0][1] else fresh
        token = f"{process_name()}:{uuid.uuid4().hex[:12]}"
        claimable(space).filter(pk__in=chosen).order_by().update(
            claimed_by=token, claimed_until=timezone.now() + LEASE, attempts=F("attempts") + 1
        )
        owned = EmbeddingJob.objects.filter(space=space, claimed_by=token).order_by("pk")
        return Claim(token, tuple(owned.values_list("item_id", flat=True)))


def fail(token: str, errors: dict[int, str]) -> None:
    """Record why items of a claim failed: they wait for another attempt, or fail for good."""
    now = timezone.now()
    with transaction.atomic():
        for job in EmbeddingJob.objects.filter(claimed_by=token, item_id__in=errors):
            job.error = errors[job.item_id]
            job.claimed_by, job.claimed_until = "", None
            if job.attempts >= MAX_ATTEMPTS:
                job.failed_at = now
            else:
                job.run_after = now + RETRY_DELAYS[job.attempts - 1]
            job.save()
            logger.warning(
                "Embedding item %d failed, attempt %d of %d: %s",
                job.item_id,
                job.attempts,
                MAX_ATTEMPTS,
                job.error,
            )


def release(token: str) -> None:
    """Give back what a claim still holds, as if it had never been claimed."""
    EmbeddingJob.objects.filter(claimed_by=token).update(
        claimed_by="", claimed_until=None, attempts=F("attempts") - 1
    )


def reclaim_dead() -> int:
    """Take back at once the leases of processes that died on this host. Returns how many jobs."""
    claimed = EmbeddingJob.objects.exclude(claimed_by="")
    tokens = claimed.order_by().values_list("claimed_by", flat=True).distinct()
    dead = [token for token in tokens if not _may_be_alive(token)]
    return claimed.filter(claimed_by__in=dead).update(claimed_by="", claimed_until=None)


def process_name() -> str:
    """This process, recognisable on its host even after the process number is used again."""
    return _name_process(psutil.Process(os.getpid()))


def nudge() -> None:
    """Ask a worker to look at the queue. A lost nudge is healed by the sweep."""
    from django_q.tasks import async_task

    try:
        async_task("embeddings.tasks.embed_pending", q_options={"timeout": 600})
    except Exception:
        logger.exception("The job broker took no nudge; the next sweep starts the work")


def _name_process(process: psutil.Process) -> str:
    return f"{socket.gethostname()[:40]}:{process.pid}:{int(process.create_time() * 100)}"


def _may_be_alive(token: str) -> bool:
    host, pid, _ = token.split(":", 2)
    if host != socket.gethostname()[:40]:
        return True  # cannot know: its lease will end
    try:
        return token.startswith(_name_process(psutil.Process(int(pid))))
    except (psutil.NoSuchProcess, ValueError):
        return False


def _fail_exhausted(job_ids: list[int]) -> None:
    failed = EmbeddingJob.objects.filter(pk__in=job_ids).update(
        failed_at=timezone.now(),
        claimed_by="",
        claimed_until=None,
        error=DIED.format(attempts=MAX_ATTEMPTS),
    )
    if failed:
        logger.error("%d items failed: the worker died each time it embedded them", failed)


def _write_rows(space: EmbeddingSpace, item_ids: list[int]) -> None:
    now = timezone.now()
    EmbeddingJob.objects.bulk_create(
        [EmbeddingJob(space=space, item_id=item_id, run_after=now) for item_id in item_ids],
        update_conflicts=True,
        unique_fields=["space", "item"],
        update_fields=[
            "attempts",
            "run_after",
            "claimed_by",
            "claimed_until",
            "error",
            "failed_at",
        ],
    )


def _chunks(item_ids: Iterable[int]) -> Iterator[list[int]]:
    source = iter(item_ids)
    while chunk := list(islice(source, WRITE_BATCH)):
        yield chunk
