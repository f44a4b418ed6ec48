"""Drain the queue: claim a batch, read its inputs, encode, commit; until nothing waits."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeAlias

import numpy as np
from django.db import transaction

from catalog.ingest.images import ImageRefused
from catalog.models import Item
from catalog.resources import log_resources
from embeddings import jobs
from embeddings.backends import encoder_of
from embeddings.encoders.base import Encoder, EncoderError, Modality, Vectors
from embeddings.models import Embedding, EmbeddingSpace, VectorChange
from embeddings.pace import Pace
from embeddings.parts import PARTS
from embeddings.spaces import live_spaces

logger = logging.getLogger(__name__)

BATCH_SIZE: Final = 64
"""Items a claim: one transaction, and the images that are in memory at once (times two)."""
READ_THREADS: Final = 2
"""Pictures are read and decoded ahead of the encoder; Pillow releases the GIL."""


Key: TypeAlias = tuple[int, Modality]
"""A vector of an item, or the input that it is made from."""


@dataclasses.dataclass(frozen=True)
class DrainReport:
    """What a drain did, in items."""

    indexed: int = 0
    failed: int = 0
    """Failed attempts, whether final or not."""

    def __add__(self, other: DrainReport) -> DrainReport:
        return DrainReport(self.indexed + other.indexed, self.failed + other.failed)


@dataclasses.dataclass
class _Batch:
    """A claim and its items, whose parts are being read by the pool."""

    claim: jobs.Claim
    items: dict[int, Item]
    gone: list[Key]
    """Vectors there are of parts that the items no longer have."""
    inputs: dict[Key, Future[Any]]
    """The parts that lack a vector, or Unreadable."""


def drain(*, until: Callable[[], bool] = lambda: False) -> DrainReport:
    """Embed waiting items until none is claimable or `until()` is true, asked twice a batch.

    The active space goes first: what comes for it waits for one batch of the others at most. Those
    whose model cannot be used are left out, and say so.
    """
    spaces = usable_spaces()
    jobs.reclaim_dead()
    report = DrainReport()
    pace = Pace()
    started = time.perf_counter()
    tokens: set[str] = set()

    def load(ahead: _Batch | None, *, beside: bool) -> _Batch | None:
        """A batch of the first space that has one; of those before what is read ahead already."""
        before = spaces if ahead is None else spaces[: spaces.index(ahead.claim.space)]
        claim = jobs.claim(before, BATCH_SIZE, beside=beside)
        if claim is None:
            return None
        tokens.add(claim.token)
        return _begin(claim, pool)

    with (
        ThreadPoolExecutor(READ_THREADS, thread_name_prefix="read") as pool,
        jobs.holding(tokens),
    ):
        ahead: _Batch | None = None
        while (batch := load(ahead, beside=ahead is not None) or ahead) is not None:
            if batch is ahead:
                ahead = None
            if ahead is None and not batch.claim.alone and not until():
                ahead = load(None, beside=True)
            done = _embed(batch)
            tokens.discard(batch.claim.token)
            pace.count(batch.claim.space, done.indexed)
            report += done
            if until():
                break
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


def _begin(claim: jobs.Claim, pool: ThreadPoolExecutor) -> _Batch:
    """Look the claim's items up and start reading what they lack."""
    space = claim.space
    items = Item.objects.in_bulk(claim.item_ids)
    stored = Embedding.objects.filter(space=space, item__in=items)
    made_from: dict[Key, str] = {
        (pk, Modality(modality)): digest
        for pk, modality, digest in stored.values_list("item_id", "modality", "content_hash")
    }
    hashes = {
        (pk, modality): PARTS[modality].hash_of(item)
        for pk, item in items.items()
        for modality in space.covers
    }
    inputs = {
        (pk, modality): pool.submit(_read, items[pk], modality)
        for (pk, modality), digest in hashes.items()
        if digest and digest != made_from.get((pk, modality))
    }
    return _Batch(claim, items, [key for key in made_from if not hashes.get(key)], inputs)


@dataclasses.dataclass(frozen=True)
class Unreadable:
    """Why an input cannot be read: an exception would hold the file in its traceback."""

    reason: str


def _read(item: Item, modality: Modality) -> Any:
    """The encoder's input, or Unreadable."""
    part = PARTS[modality]
    try:
        return part.read(item)
    except (ImageRefused, OSError) as exc:
        reason = str(exc)
    except Exception as exc:
        logger.exception("Reading the %s of item %d failed", part.name, item.pk)
        reason = f"{type(exc).__name__}: {exc}"
    return Unreadable(f"The {part.name} cannot be read: {reason}")


def _embed(batch: _Batch) -> DrainReport:
    """Encode and commit one batch; whatever fails is recorded against its item alone."""
    space = batch.claim.space
    logger.info("Embedding start: %d items for space %d", len(batch.items), space.pk)
    errors = {
        pk: f"The model covers no more than {_plurals(space)}, and the item has none."
        for pk, item in batch.items.items()
        if not any(PARTS[modality].hash_of(item) for modality in space.covers)
    }
    inputs: dict[Key, Any] = {}
    for key, future in batch.inputs.items():
        read = future.result()
        if isinstance(read, Unreadable):
            errors[key[0]] = read.reason
        else:
            inputs[key] = read
    inputs = {key: read for key, read in inputs.items() if key[0] not in errors}
    vectors, refused = _encode(encoder_of(space), inputs)
    if errors := errors | refused:
        jobs.fail(batch.claim.token, errors)
    embedded = batch.items.keys() - errors.keys()
    indexed = _commit(space, batch, embedded, vectors) if embedded else 0
    return DrainReport(indexed, len(errors))


def _plurals(space: EmbeddingSpace) -> str:
    return " and ".join(PARTS[modality].plural for modality in space.covers)


def _encode(encoder: Encoder, inputs: dict[Key, Any]) -> tuple[dict[Key, Vectors], dict[int, str]]:
    """Vectors, and errors by item; where a batch fails, item by item."""
    vectors: dict[Key, Vectors] = {}
    items = {pk for pk, _ in inputs}
    try:
        for chosen in dict.fromkeys(modality for _, modality in inputs):
            keys = [key for key in inputs if key[1] is chosen]
            rows = _timed(encoder, chosen, [inputs[key] for key in keys])
            vectors |= zip(keys, rows, strict=True)
    except Exception as exc:
        if not isinstance(exc, EncoderError):
            logger.exception("Encoding %d items failed", len(items))
        if len(items) == 1:
            return {}, dict.fromkeys(items, f"The model failed: {exc}")
    else:
        return _refuse_unusable(vectors)
    vectors = {}
    errors: dict[int, str] = {}
    for pk in items:
        alone, error = _encode(encoder, {key: inputs[key] for key in inputs if key[0] == pk})
        vectors |= alone
        errors |= error
    return vectors, errors


def _refuse_unusable(
    vectors: dict[Key, Vectors],
) -> tuple[dict[Key, Vectors], dict[int, str]]:
    """Part the vectors that no index can hold from the others, by item."""
    errors = {
        pk: f"The model made a vector of the {PARTS[modality].name} that is not finite"
        " (NaN or infinity)."
        for (pk, modality), vector in vectors.items()
        if not np.isfinite(vector.astype("<f2")).all()  # as it will be stored
    }
    return {key: vector for key, vector in vectors.items() if key[0] not in errors}, errors


def _timed(encoder: Encoder, modality: Modality, inputs: Sequence[Any]) -> Vectors:
    started = time.perf_counter()
    rows = encoder.encode(modality, inputs)
    elapsed = time.perf_counter() - started
    logger.info(
        "Encoded %d %s in %.0f ms, %.1f a second",
        len(inputs),
        PARTS[modality].plural,
        elapsed * 1000,
        len(inputs) / elapsed,
    )
    return rows


def _commit(
    space: EmbeddingSpace, batch: _Batch, embedded: Collection[int], vectors: dict[Key, Vectors]
) -> int:
    """Write vectors, change log and the end of the jobs in one transaction.

    Only items count whose job is still ours and whose content is still what was encoded.
    """
    hash_fields = [PARTS[modality].hash_field for modality in space.covers]
    with transaction.atomic():
        # On PostgreSQL the row lock makes `seq` grow in commit order; SQLite has one writer anyway.
        space = EmbeddingSpace.objects.select_for_update().get(pk=space.pk)
        if space.state == EmbeddingSpace.State.RETIRED:
            return 0
        ours = jobs.in_work(batch.claim.token)
        now = ours.values_list("item_id", *(f"item__{field}" for field in hash_fields))
        current = {
            pk
            for pk, *hashes in now
            if pk in embedded
            and hashes == [getattr(batch.items[pk], field) for field in hash_fields]
        }
        rows = [
            Embedding(
                space=space,
                item_id=pk,
                modality=modality.value,
                content_hash=PARTS[modality].hash_of(batch.items[pk]),
                vector=vector.astype("<f2").tobytes(),
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
        VectorChange.objects.bulk_create(
            VectorChange(space=space, modality=modality, vector_item=pk)
            for pk, modality in sorted(changed)
        )
        ours.filter(item_id__in=current).delete()
        jobs.release(batch.claim.token)  # edited while they were encoded: they wait again
    return len(current)
