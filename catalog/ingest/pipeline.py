"""Records in, outcomes out: lazily, in order, at flat memory whatever the number.

Pictures of the next batch are decoded in threads while the present one is written.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeAlias

from django.db import DataError, IntegrityError, OperationalError, connection

from catalog.ingest.images import ImageBusy, ImageRefused, ImageTooLarge
from catalog.ingest.pictures import Known, Picture, prepare_picture
from catalog.ingest.records import (
    ImageInput,
    InvalidField,
    ItemRecord,
    LocalImage,
    Outcome,
    OutcomeKind,
    UploadedImage,
    clean,
    rejected,
)
from catalog.ingest.writer import PictureChanged, Prepared, discard_unnamed, write
from catalog.models import Item
from catalog.storage import PicturesUnavailable

logger = logging.getLogger(__name__)

DEFAULT_BATCH_SIZE: Final = 200
"""Records a transaction."""
MAX_BATCH_PICTURES: Final = 32
"""Pictures are long to read: the worker begins with the first while the others are."""
MAX_BATCH_BYTES: Final = 32 * 2**20
"""Bytes of uploaded pictures a batch holds in memory before it is closed early."""
THREADS: Final = min(4, os.cpu_count() or 1)
LOCKED_ATTEMPTS: Final = 3
"""Times a batch waits for the database's timeout before a lock is an error."""
PATIENCE: Final = 60.0
"""Seconds that a command waits for a place of pictures which does not answer."""

_Batch: TypeAlias = list[ItemRecord | Outcome]
_Slot: TypeAlias = tuple[ItemRecord, Future[Picture | ImageRefused] | None] | Outcome


def ingest(
    records: Iterable[ItemRecord | Outcome],
    *,
    batch_size: int = DEFAULT_BATCH_SIZE,
    dry_run: bool = False,
) -> Generator[Outcome]:
    """Store records, new or by id an update; yields an outcome for each, in their order.

    A source passes on rows that it could not read as rejected outcomes. Where `records` raises,
    what came before is stored first. Closing the iterator leaves no file without a row.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} is not a positive number.")
    reader = _Reader(records, batch_size)
    ahead: deque[list[_Slot]] = deque()
    with ThreadPoolExecutor(THREADS, thread_name_prefix="door") as pool:
        try:
            for batch in reader:
                ahead.append(_start(batch, pool, store=not dry_run))
                if len(ahead) > 1:
                    yield from _finish(ahead.popleft(), dry_run=dry_run)
            while ahead:
                yield from _finish(ahead.popleft(), dry_run=dry_run)
        finally:
            for slots in ahead:
                _abandon(slots)
    if reader.error is not None:
        raise reader.error


def ingest_one(record: ItemRecord) -> Outcome:
    """Store one record."""
    (outcome,) = ingest([record])
    return outcome


class _Reader:
    """Cuts records into batches: of distinct ids, and of bounded bytes."""

    def __init__(self, records: Iterable[ItemRecord | Outcome], batch_size: int) -> None:
        self.error: Exception | None = None
        self._records = records
        self._batch_size = batch_size

    def __iter__(self) -> Iterator[_Batch]:
        batch: _Batch = []
        ids: set[str] = set()
        pictures = size = 0
        for record in self._cleaned():
            item_id = record.item_id or "" if isinstance(record, ItemRecord) else ""
            # A second row with an id waits for the first to be stored: it is its update.
            is_full = (
                len(batch) >= self._batch_size
                or pictures >= MAX_BATCH_PICTURES
                or size >= MAX_BATCH_BYTES
            )
            if batch and (is_full or item_id in ids):
                yield batch
                batch, ids, pictures, size = [], set(), 0, 0
            batch.append(record)
            if item_id:
                ids.add(item_id)
            pictures += isinstance(record, ItemRecord) and record.image is not None
            size += _weight(record)
        if batch:
            yield batch

    def _cleaned(self) -> Iterator[ItemRecord | Outcome]:
        records = iter(self._records)
        while True:
            try:
                record = next(records)
            except StopIteration:
                return
            except Exception as exc:  # noqa: BLE001  raised by `ingest` once the rest is stored
                self.error = exc
                return
            yield _clean(record) if isinstance(record, ItemRecord) else record


def _clean(record: ItemRecord) -> ItemRecord | Outcome:
    try:
        return clean(record)
    except InvalidField as exc:
        return rejected(exc.reason, line=record.line, item_id=record.item_id or "", field=exc.field)


def _weight(record: ItemRecord | Outcome) -> int:
    image = record.image if isinstance(record, ItemRecord) else None
    if isinstance(image, UploadedImage) and isinstance(image.data, bytes):
        return len(image.data)
    return 0


def _start(batch: _Batch, pool: ThreadPoolExecutor, *, store: bool) -> list[_Slot]:
    """Begin to prepare a batch's pictures."""
    pictured = [r.item_id or "" for r in batch if isinstance(r, ItemRecord) and r.image]
    known = _known(pictured) if pictured else {}
    slots: list[_Slot] = []
    for record in batch:
        if isinstance(record, Outcome):
            slots.append(record)
        elif record.image is None:
            slots.append((record, None))
        else:
            item_id = record.item_id or ""
            future = pool.submit(_prepare, item_id, record.image, known.get(item_id), store=store)
            slots.append((record, future))
    return slots


def _prepare(
    item_id: str, source: ImageInput, known: Known | None, *, store: bool
) -> Picture | ImageRefused:
    """A refusal is returned, a new one: what was raised holds the picture in its traceback.

    Raises PicturesUnavailable.
    """
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return prepare_picture(item_id, source, known, store=store)
        except ImageRefused as exc:
            # Files of this machine come from a command, which has the time that clients have not.
            if not (isinstance(exc, ImageBusy) and isinstance(source, LocalImage)):
                return type(exc)(*exc.args)
        except PicturesUnavailable:
            if not isinstance(source, LocalImage) or time.monotonic() > until:
                raise
            time.sleep(1)


def _known(item_ids: Sequence[str]) -> dict[str, Known]:
    rows = Item.objects.filter(item_id__in=item_ids).exclude(image="").order_by()
    return {
        item_id: Known(image_hash=image_hash, image=image, preview=preview)
        for item_id, image_hash, image, preview in rows.values_list(
            "item_id", "image_hash", "image", "preview"
        )
    }


def _finish(slots: list[_Slot], *, dry_run: bool) -> list[Outcome]:
    """Wait for a batch's pictures and write it."""
    try:
        settled = [slot if isinstance(slot, Outcome) else _settle(*slot) for slot in slots]
    except BaseException:
        _abandon(slots)
        raise
    ready = [prepared for prepared in settled if isinstance(prepared, Prepared)]
    outcomes = _write(ready, dry_run=dry_run)
    if unwritten := [p for p, outcome in zip(ready, outcomes, strict=True) if outcome.missing]:
        discard_unnamed(unwritten)
    written = iter(map(_noted, ready, outcomes))
    return [next(written) if isinstance(slot, Prepared) else slot for slot in settled]


def _noted(prepared: Prepared, outcome: Outcome) -> Outcome:
    """The outcome with what was remarked when it came in; of its picture if that was taken."""
    notes = [prepared.record.note]
    if prepared.picture is not None and outcome.kind is not OutcomeKind.REJECTED:
        notes.append(prepared.picture.note)
    note = " ".join(filter(None, notes))
    return dataclasses.replace(outcome, note=note) if note else outcome


def _settle(
    record: ItemRecord, future: Future[Picture | ImageRefused] | None
) -> Prepared | Outcome:
    picture = future.result() if future is not None else None
    if isinstance(picture, ImageRefused):
        reason, item_id = str(picture), record.item_id or ""
        return dataclasses.replace(
            rejected(reason, line=record.line, item_id=item_id, field="image"),
            too_large=isinstance(picture, ImageTooLarge),
            busy=isinstance(picture, ImageBusy),
        )
    return Prepared(record=record, picture=picture)


def _write(ready: list[Prepared], *, dry_run: bool) -> list[Outcome]:
    """Write a batch; where it fails as a whole, its records one by one."""
    try:
        try:
            return _write_patiently(ready, dry_run=dry_run)
        except (IntegrityError, DataError, PictureChanged):
            logger.info("A batch of %d records is written one by one", len(ready), exc_info=True)
            return [_write_alone(prepared, dry_run=dry_run) for prepared in ready]
    except Exception:
        discard_unnamed(ready)
        raise


def _write_alone(prepared: Prepared, *, dry_run: bool) -> Outcome:
    record = prepared.record
    try:
        try:
            (outcome,) = _write_patiently([prepared], dry_run=dry_run)
        except PictureChanged:
            prepared = _prepare_again(record, store=not dry_run)
            (outcome,) = _write_patiently([prepared], dry_run=dry_run)
    except (IntegrityError, DataError, ImageRefused) as exc:
        discard_unnamed([prepared])
        logger.warning("Record %r could not be stored", record.item_id, exc_info=True)
        reason = str(exc)
        if not isinstance(exc, ImageRefused):
            told, _, _ = reason.partition("\n")  # PostgreSQL adds lines about its insides
            reason = f"The database refused it: {told}"
        return rejected(reason, line=record.line, item_id=record.item_id or "")
    return outcome


def _prepare_again(record: ItemRecord, *, store: bool) -> Prepared:
    if record.image is None:
        raise AssertionError("Only a record with a picture can have to be prepared again.")
    picture = prepare_picture(record.item_id or "", record.image, None, store=store)
    return Prepared(record=record, picture=picture)


def _write_patiently(ready: list[Prepared], *, dry_run: bool) -> list[Outcome]:
    """Write; a locked database is asked again, each time for as long as its timeout."""
    for attempt in range(1, LOCKED_ATTEMPTS + 1):
        try:
            return write(ready, dry_run=dry_run)
        except OperationalError as exc:
            if attempt == LOCKED_ATTEMPTS or connection.in_atomic_block:
                raise
            logger.warning("The database is busy (%s); attempt %d", exc, attempt)
    raise AssertionError("The last attempt returns or raises.")


def _abandon(slots: Iterable[_Slot]) -> None:
    """Give up a batch that will not be written: no file stays behind."""
    for slot in slots:
        if isinstance(slot, tuple) and slot[1] is not None:
            future = slot[1]
            if (
                not future.cancel()
                and future.exception() is None
                and isinstance(picture := future.result(), Picture)
            ):
                picture.discard()
