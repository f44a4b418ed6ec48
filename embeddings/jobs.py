"""The durable queue: one row an item that waits, claimed by compare-and-swap under a lease.

django-q2 carries only nudges. Losing one loses nothing: the rows stay, and every host looks.
Whatever runs per batch reads a batch of rows, however long the queue is.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import secrets
import threading
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from django.db import DatabaseError, connection, transaction
from django.db.models import Exists, Max, OuterRef, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from catalog.models import Item
from embeddings import presence
from embeddings.models import Embedding, EmbeddingJob, EmbeddingSpace
from embeddings.spaces import items_lacking_vectors, live_spaces

logger = logging.getLogger(__name__)

LEASE: Final = timedelta(seconds=30)
"""Renewed while the work lasts; where it ends, the process is taken for dead. By the database's
clock, which all hosts share."""
MAX_ATTEMPTS: Final = 3
RETRY_DELAYS: Final = (timedelta(seconds=5), timedelta(seconds=30))
"""Wait after the first and the second failed attempt."""
POSTPONED: Final = timedelta(seconds=10)
"""Wait of an item that could not be read through no fault of its own."""
WRITE_BATCH: Final = 1000
"""Rows a statement."""
EMBED_PENDING: Final = "embeddings.tasks.embed_pending"
"""The task that a nudge asks for,"""
EMBED_TIMEOUT: Final = 600
"""and after how many seconds it counts as hung."""
_UNCLAIMED: Final = {"claimed_by": "", "claimed_until": None}
OUTDATED: Final = "outdated"
"""In place of the hash of the part that a vector was made from: it is to be made again."""
# Past the models, which take three times as long: this runs for every item that comes.
_WRITE_ROW: Final = (
    f"INSERT INTO {EmbeddingJob._meta.db_table} (space_id, item_id, run_after, created_at,"  # noqa: S608  a name
    " attempts, claimed_by, error) VALUES (%s, %s, %s, %s, 0, '', '')"
    " ON CONFLICT (space_id, item_id) DO UPDATE SET run_after = excluded.run_after,"
    " attempts = 0, claimed_by = '', claimed_until = NULL, error = '', failed_at = NULL"
)
SUSPECTED: Final = "The worker died while it embedded this item with others."
DIED: Final = "The worker died while it embedded this item alone."


@dataclasses.dataclass(frozen=True)
class Claim:
    """Jobs of one space that this process alone may work on until the lease ends."""

    space: EmbeddingSpace
    token: str
    item_ids: tuple[int, ...]
    alone: bool
    """Nothing else may be in work beside it."""


def enqueue(item_ids: Iterable[int]) -> int:
    """Enqueue items whose content has no vector yet. Returns how many.

    Each gets a job in every live space that lacks it; opening a space enqueues all it lacks. Joins
    the caller's transaction. A job that there is already starts anew: what it embeds, or failed to
    embed, is outdated.
    """
    spaces = live_spaces()
    enqueued = 0
    with transaction.atomic():
        for chunk in _chunks(item_ids):
            enqueued += max((_enqueue(each, chunk) for each in spaces), default=0)
    return enqueued


def enqueue_missing(space: EmbeddingSpace, *, since: datetime | None = None) -> int:
    """Enqueue every item, or those saved `since` then, that has neither vector nor job in `space`.

    Returns how many. Looks before it locks: a look at a million items takes seconds.
    """
    missing = items_lacking_vectors(space).filter(~Exists(_job_of_item(space)))
    if since is not None:
        missing = missing.filter(updated_at__gte=since)
    found = sorted(missing.order_by().values_list("pk", flat=True))
    enqueued = 0
    for chunk in _chunks(found):
        with transaction.atomic():
            enqueued += _enqueue(space, chunk)
    return enqueued


def re_embed(item_ids: Iterable[int]) -> int:
    """Embed items again, whatever vectors they have. Returns how many."""
    enqueued = 0
    for chunk in _chunks(item_ids):
        with transaction.atomic():
            Embedding.objects.filter(item__in=chunk).update(content_hash=OUTDATED)
            enqueued += enqueue(chunk)
    return enqueued


def retry_failed(item_ids: Iterable[int] | None = None) -> int:
    """Give failed jobs (of `item_ids`, or all), in every live space, fresh attempts.

    Returns how many items.
    """
    retried = set[int]()
    wanted = None if item_ids is None else list(item_ids)
    for space in live_spaces():
        failed = EmbeddingJob.objects.filter(space=space, failed_at__isnull=False)
        if wanted is not None:
            failed = failed.filter(item_id__in=wanted)
        found = list(failed.values_list("item_id", flat=True))
        for chunk in _chunks(found):
            with transaction.atomic():
                _enqueue(space, chunk)
        retried.update(found)
    return len(retried)


def claimable(space: EmbeddingSpace) -> QuerySet[EmbeddingJob]:
    """Jobs that a worker may claim now, oldest first."""
    return EmbeddingJob.objects.filter(
        space=space,
        claimed_until__isnull=True,
        failed_at__isnull=True,
        run_after__lte=timezone.now(),
    ).order_by("run_after", "pk")


def is_waiting(spaces: Iterable[EmbeddingSpace]) -> bool:
    """Whether a worker may claim anything in these spaces now."""
    return any(claimable(space).exists() for space in spaces)


def claim(spaces: Iterable[EmbeddingSpace], limit: int, *, beside: bool = False) -> Claim | None:
    """Claim up to `limit` waiting jobs of the first space where any wait; None where none waits.

    A job with an error is suspected of causing it. It is claimed alone, and not `beside` others in
    work, so that an item which kills the process takes no others with it.
    """
    token = f"{presence.process_id()}:{secrets.token_hex(6)}"
    with transaction.atomic():
        for space in spaces:
            # What another host is just claiming is passed over, where the database can do that.
            free = claimable(space).select_for_update(skip_locked=True, no_key=True)
            if waiting := list(free.values_list("pk", "error")[:limit]):
                break
        else:
            return None
        alone = waiting[0][1] != ""
        if alone and beside:
            return None
        chosen = waiting[:1] if alone else [job for job in waiting if not job[1]]
        # By key and no more: with space and time, SQLite would look the keys up in the whole queue.
        EmbeddingJob.objects.filter(
            pk__in=[pk for pk, _ in chosen], claimed_until__isnull=True
        ).update(claimed_by=token, claimed_until=Now() + LEASE)
        owned = in_work(token).order_by("pk")
        return Claim(space, token, tuple(owned.values_list("item_id", flat=True)), alone)


def in_work(*tokens: str) -> QuerySet[EmbeddingJob]:
    """The jobs that these claims still hold."""
    return EmbeddingJob.objects.filter(claimed_by__in=tokens, claimed_until__isnull=False)


@contextlib.contextmanager
def holding(tokens: Collection[str]) -> Iterator[None]:
    """Renew the leases of `tokens`, which may change meanwhile; at the end, give them back."""
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(LEASE.total_seconds() / 3):
            try:
                _renew(tokens)
            except DatabaseError:
                logger.warning("Leases could not be renewed; the next third tries again")
        connection.close()

    thread = threading.Thread(target=renew, name="leases", daemon=True)
    thread.start()
    try:
        try:
            yield
        finally:
            ended.set()
            thread.join()
    except Exception:
        release(*tokens)
        raise
    # Not after SystemExit, which ends a task that ran out of time: it may have hung on its items.
    release(*tokens)


def _renew(tokens: Collection[str]) -> None:
    """Begin the leases anew; jobs that another transaction has in hand wait for the next time."""
    with transaction.atomic():
        held = in_work(*tokens).select_for_update(skip_locked=True, no_key=True)
        jobs = EmbeddingJob.objects.filter(pk__in=list(held.values_list("pk", flat=True)))
        jobs.update(claimed_until=Now() + LEASE)


def fail(token: str, errors: dict[int, str]) -> None:
    """Record why items of a claim failed: they wait for another attempt, or fail for good."""
    with transaction.atomic():
        for job in in_work(token).filter(item_id__in=errors).order_by("item"):
            delay = RETRY_DELAYS[min(job.attempts, len(RETRY_DELAYS) - 1)]
            _fail_attempt(job, errors[job.item_id], delay)


def postpone(token: str, item_ids: Iterable[int]) -> None:
    """Give items of a claim back as they were, to be tried again in a while."""
    again = timezone.now() + POSTPONED
    in_work(token).filter(item_id__in=item_ids).update(**_UNCLAIMED, run_after=again)


def release(*tokens: str) -> None:
    """Give back what claims still hold, as if they had never been made."""
    in_work(*tokens).update(**_UNCLAIMED)


def reclaim_dead() -> int:
    """Take back the leases that ended and, at once, those of processes that died on this host.

    Returns how many jobs. Those that were in work with others become suspects, one that was in
    work alone has failed an attempt.
    """
    dead = presence.dead_here()
    claimed = EmbeddingJob.objects.filter(claimed_until__isnull=False).order_by()
    leases = claimed.values("claimed_by").annotate(until=Max("claimed_until"))
    over = set(leases.filter(until__lt=Now()).values_list("claimed_by", flat=True))
    held = leases.values_list("claimed_by", flat=True) if dead else ()
    lost = over | {token for token in held if token.partition(":")[0] in dead}
    count = 0
    for token in lost:
        with transaction.atomic():
            for suspect in in_work(token).exclude(error=""):
                # Last in the queue: whoever dies next for reasons of its own holds another one.
                _fail_attempt(suspect, DIED, timedelta())
                count += 1
            count += in_work(token).update(**_UNCLAIMED, error=SUSPECTED)
    presence.forget(dead)
    return count


def nudge() -> None:
    """Ask a worker to look at the queue. A lost nudge is healed by their own looks."""
    from django_q.tasks import async_task

    try:
        async_task(EMBED_PENDING, q_options={"timeout": EMBED_TIMEOUT})
    except Exception as exc:  # noqa: BLE001  of whichever driver
        logger.warning("The job broker took no nudge (%s); workers look for themselves", exc)


def _fail_attempt(job: EmbeddingJob, error: str, delay: timedelta) -> None:
    now = timezone.now()
    job.attempts += 1
    job.error = error
    job.claimed_by, job.claimed_until = "", None
    job.run_after = now + delay
    if job.attempts >= MAX_ATTEMPTS:
        job.failed_at = now
    job.save()
    logger.warning(
        "Embedding item %d failed, attempt %d of %d: %s",
        job.item_id,
        job.attempts,
        MAX_ATTEMPTS,
        job.error,
    )


def _job_of_item(space: EmbeddingSpace) -> QuerySet[EmbeddingJob]:
    return EmbeddingJob.objects.filter(space=space, item=OuterRef("pk"))


def _enqueue(space: EmbeddingSpace, item_ids: list[int]) -> int:
    """Write the jobs of one chunk, inside a transaction; nudges a worker that may be idle."""
    # One that has a job and all its vectors: its content is again what it was before the job.
    wanted = items_lacking_vectors(space) | Item.objects.filter(Exists(_job_of_item(space)))
    held = wanted.filter(pk__in=item_ids).select_for_update(no_key=True).order_by("pk")
    item_ids = list(held.values_list("pk", flat=True))
    # A tried job waits out its delay without a nudge; a fresh one has its nudge on the way.
    oldest_error = claimable(space).values_list("error", flat=True).first()
    _write_rows(space, item_ids)
    if item_ids and oldest_error != "":
        transaction.on_commit(nudge)
    return len(item_ids)


def _write_rows(space: EmbeddingSpace, item_ids: list[int]) -> None:
    """Write new jobs; one that there is starts anew."""
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    with connection.cursor() as cursor:
        cursor.executemany(_WRITE_ROW, [(space.pk, item_id, now, now) for item_id in item_ids])


def _chunks(item_ids: Iterable[int]) -> Iterator[list[int]]:
    source = iter(item_ids)
    while chunk := list(islice(source, WRITE_BATCH)):
        yield chunk
