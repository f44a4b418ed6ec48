"""Drain the queue: claim a batch, read its inputs, encode, commit; until nothing waits.

The encoder is never waited for idly: while it has one batch, the last is committed and the next is
read. The database is this thread's alone; the encoder's thread, and those that read, touch none of
it.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from django.db import transaction

from catalog.models import Item
from catalog.resources import log_resources
from embeddings import encoding, jobs
from embeddings.backends import encoder_of
from embeddings.change_log import hold_logs, write_lines
from embeddings.encoders.base import EncoderError, Modality
from embeddings.encoding import Encoded, Key, Stored
from embeddings.models import Embedding, EmbeddingSpace
from embeddings.pace import Pace
from embeddings.parts import PARTS
from embeddings.spaces import live_spaces

logger = logging.getLogger(__name__)

BATCH_SIZE: Final = 64
"""Items a claim: one transaction, and the inputs that are in memory at once (times two)."""
READ_THREADS: Final = 2
"""Inputs are read and decoded ahead of the encoder; Pillow releases the GIL."""


@dataclasses.dataclass(frozen=True)
class DrainReport:
    """What a drain did, in items."""

    indexed: int = 0
    failed: int = 0
    """Failed attempts, whether final or not."""

    def __add__(self, other: DrainReport) -> DrainReport:
        return DrainReport(self.indexed + other.indexed, self.failed + other.failed)


@dataclasses.dataclass(frozen=True)
class _Batch:
    """A claim and its items."""

    claim: jobs.Claim
    items: dict[int, Item]
    gone: list[Key]
    """Vectors there are of parts that the items no longer have."""
    reading: dict[Key, Future[Any]]
    """Parts that lack a vector, being read by the pool; emptied once they are encoded."""


def drain(*, until: Callable[[], bool] = lambda: False) -> DrainReport:
    """Embed waiting items until none is claimable or `until()` is true, asked twice a batch.

    The active space goes first: what comes for it waits for one batch of the others at most. Those
    whose model cannot be used are left out, and say so.
    """
    spaces = usable_spaces()
    jobs.reclaim_dead()
    started = time.perf_counter()
    readers = ThreadPoolExecutor(READ_THREADS, thread_name_prefix="read")
    encoder = ThreadPoolExecutor(1, thread_name_prefix="encode")
    work = _Work(spaces, readers, encoder, until)
    try:
        with jobs.holding(work.tokens):
            work.run()
    finally:
        for pool in (readers, encoder):
            pool.shutdown(cancel_futures=True)
    report = work.report
    if report.indexed or report.failed:
        elapsed = time.perf_counter() - started
        logger.info(
            "Embedding end: %d items indexed, %d attempts failed in %.2f s, %.1f items/s",
            report.indexed,
            report.failed,
            elapsed,
            report.indexed / elapsed,
        )
        log_resources("embedding")
    return report


class _Work:
    """What one drain has in work: a batch being encoded, one before it, and one after it."""

    def __init__(
        self,
        spaces: list[EmbeddingSpace],
        readers: ThreadPoolExecutor,
        encoder: ThreadPoolExecutor,
        until: Callable[[], bool],
    ) -> None:
        self.report = DrainReport()
        self.tokens: set[str] = set()
        """Of the claims that are held."""
        self._spaces = spaces
        self._readers = readers
        self._encoder = encoder
        self._until = until
        self._stopping = False
        self._pace = Pace()
        self._encoded: tuple[_Batch, Encoded] | None = None
        """To be committed."""
        self._ahead: _Batch | None = None
        """Being read."""

    def run(self) -> None:
        while (batch := self._next()) is not None or self._encoded is not None:
            running = None if batch is None else self._encoder.submit(_encode, batch)
            self._commit_encoded()
            if batch is not None and running is not None:
                self._read_ahead(beside=batch)
                self._encoded = batch, running.result()
                # Where pictures cannot be read, the next batch would wait for them in vain too.
                self._stopping |= self._until() or bool(self._encoded[1].waiting)

    def _next(self) -> _Batch | None:
        """What to encode now: of the spaces before that of what was read ahead, or that itself."""
        if self._encoded is not None and self._encoded[0].claim.alone:
            self._commit_encoded()
        if self._stopping:
            return None
        ahead, spaces = self._ahead, self._spaces
        if ahead is not None:
            spaces = spaces[: spaces.index(ahead.claim.space)]
        batch = self._claim(spaces, beside=ahead is not None or self._encoded is not None)
        if batch is None:
            self._ahead = None
        return batch or ahead

    def _read_ahead(self, *, beside: _Batch) -> None:
        self._stopping |= self._until()
        if self._ahead is None and not beside.claim.alone and not self._stopping:
            self._ahead = self._claim(self._spaces, beside=True)

    def _claim(self, spaces: list[EmbeddingSpace], *, beside: bool) -> _Batch | None:
        """Claim what the first space has that has any, and start reading what it lacks."""
        claim = jobs.claim(spaces, BATCH_SIZE, beside=beside)
        if claim is None:
            return None
        self.tokens.add(claim.token)
        return _begin(claim, self._readers)

    def _commit_encoded(self) -> None:
        if self._encoded is None:
            return
        batch, encoded = self._encoded
        self._encoded = None
        done = _finish(batch, encoded)
        self.tokens.discard(batch.claim.token)
        self._pace.count(batch.claim.space, done.indexed)
        self.report += done


def usable_spaces() -> list[EmbeddingSpace]:
    """The live spaces whose model can be used, in the order in which they are fed.

    Why another's cannot is written on its row, and into the log when it changes.
    """
    usable = []
    for space in live_spaces():
        try:
            encoder_of(space)
            problem = ""
            usable.append(space)
        except EncoderError as exc:
            problem = str(exc)
        if problem != space.problem:
            EmbeddingSpace.objects.filter(pk=space.pk).update(problem=problem)
            if problem:
                logger.error("Nothing is embedded for space %d, %s: %s", space.pk, space, problem)
    return usable


def _begin(claim: jobs.Claim, readers: ThreadPoolExecutor) -> _Batch:
    """Look the claim's items up and start reading what they lack."""
    space = claim.space
    encoder = encoder_of(space)
    items = Item.objects.in_bulk(claim.item_ids)
    stored = Embedding.objects.filter(space=space, item__in=items)
    made_from: dict[Key, str] = {
        (pk, Modality(modality)): digest
        for pk, modality, digest in stored.values_list("item_id", "modality", "content_hash")
    }
    hashes: dict[Key, str] = {
        (pk, modality): PARTS[modality].hash_of(item)
        for pk, item in items.items()
        for modality in space.covers
    }
    reading = {
        (pk, modality): readers.submit(encoding.read, encoder, items[pk], modality)
        for (pk, modality), digest in hashes.items()
        if digest and digest != made_from.get((pk, modality))
    }
    return _Batch(claim, items, [key for key in made_from if not hashes.get(key)], reading)


def _encode(batch: _Batch) -> Encoded:
    space = batch.claim.space
    logger.info("Embedding start: %d items for space %d", len(batch.items), space.pk)
    encoded = encoding.encode(encoder_of(space), batch.reading)
    batch.reading.clear()
    return encoded


def _finish(batch: _Batch, encoded: Encoded) -> DrainReport:
    """Commit one batch; whatever failed is recorded against its item alone."""
    space = batch.claim.space
    plurals = " and ".join(PARTS[modality].plural for modality in space.covers)
    errors = encoded.errors | {
        pk: f"The model covers no more than {plurals}, and the item has none."
        for pk, item in batch.items.items()
        if not any(PARTS[modality].hash_of(item) for modality in space.covers)
    }
    if errors:
        jobs.fail(batch.claim.token, errors)
    if encoded.waiting:
        jobs.postpone(batch.claim.token, encoded.waiting)
        reason = next(iter(encoded.waiting.values()))
        logger.warning("%d items wait, unharmed: %s", len(encoded.waiting), reason)
    embedded = batch.items.keys() - errors.keys() - encoded.waiting.keys()
    indexed = _commit(batch, embedded, encoded.vectors) if embedded else 0
    return DrainReport(indexed, len(errors))


def _commit(batch: _Batch, embedded: Collection[int], vectors: dict[Key, Stored]) -> int:
    """Write vectors, change log and the end of the jobs in one transaction.

    Only items count whose job is still ours and whose content is still what was encoded.
    """
    space = batch.claim.space
    hash_fields = [PARTS[modality].hash_field for modality in space.covers]
    with transaction.atomic():
        items = Item.objects.filter(pk__in=embedded).select_for_update(no_key=True).order_by("pk")
        unchanged = {
            pk
            for pk, *hashes in items.values_list("pk", *hash_fields)
            if hashes == [getattr(batch.items[pk], field) for field in hash_fields]
        }
        (space,) = hold_logs(EmbeddingSpace.objects.filter(pk=space.pk))
        if space.state == EmbeddingSpace.State.RETIRED:
            return 0
        ours = jobs.in_work(batch.claim.token)
        held = ours.select_for_update(no_key=True).order_by("item")
        current = unchanged & set(held.values_list("item_id", flat=True))
        rows = [
            Embedding(
                space=space,
                item_id=pk,
                modality=modality.value,
                content_hash=PARTS[modality].hash_of(batch.items[pk]),
                vector=vector.tobytes(),
            )
            for (pk, modality), vector in vectors.items()
            if pk in current
        ]
        Embedding.objects.bulk_create(
            rows,
            update_conflicts=True,
            unique_fields=["space", "modality", "item"],
            update_fields=["content_hash", "vector"],
        )
        gone = [key for key in batch.gone if key[0] in current]
        for pk, modality in gone:
            Embedding.objects.filter(space=space, item_id=pk, modality=modality).delete()
        changed = {(row.item_id, row.modality) for row in rows} | set(gone)
        write_lines((space.pk, modality, pk) for pk, modality in sorted(changed))
        ours.filter(item_id__in=current).delete()
        jobs.release(batch.claim.token)  # edited while they were encoded: they wait again
    return len(current)
