"""Care of the index: compaction, pruning of the log, comparison with the database, recall."""

from __future__ import annotations

import dataclasses
import fcntl
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Final

import numpy as np
from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from catalog.resources import log_resources
from embeddings import presence
from embeddings.encoders.base import Modality
from embeddings.models import Embedding, EmbeddingSpace, VectorChange
from embeddings.parts import PARTS
from embeddings.query_vectors import recent_query_vectors
from search.index import remote_index
from search.index.space_index import SpaceIndex, space_directory
from search.index.stored_vectors import LOAD_BATCH, vector_batches
from search.index.stores.base import Ids, Vectors, VectorStore
from search.index.stores.remote.engine import StoreUnavailable
from search.index.stores.replica import Replica
from search.models import StorePosition

logger = logging.getLogger(__name__)

RECALL_SAMPLE: Final = 64
"""Stored vectors, and texts asked, that serve as queries when recall is measured."""
PRUNE_BATCH: Final = 10_000
"""Rows a statement: short writes let others in between."""
LOG_LINES: Final = 100_000
"""A snapshot this far behind the log is written anew, however little of it changed: the log is
kept from the oldest snapshot on."""
STORE_GRACE: Final = timedelta(days=1)
"""The log is kept for a store on a server that is not in use, once it was written into."""
UNUSED: Final = "unused"
"""Empty file in a folder that no space uses; its age is how long that has been so."""
UNUSED_GRACE: Final = 3600.0
"""Seconds that such a folder stays: a database put back from a copy may name it again."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One modality's index beside the database."""

    modality: Modality
    in_database: int
    in_index: int
    missing: int
    """In the database only."""
    surplus: int
    """In the index only."""
    different: int
    """In both, with another vector."""
    damage: tuple[str, ...]
    """What is wrong with the snapshot files."""
    unusable: tuple[int, ...]
    """Keys of items whose vector in the database is not finite: no index can hold it."""

    @property
    def differs(self) -> bool:
        return bool(self.missing or self.surplus or self.different)

    @property
    def agrees(self) -> bool:
        return not (self.differs or self.damage)


@contextmanager
def the_only_one(*, on_wait: Callable[[], None] | None = None) -> Iterator[bool]:
    """Keep every other process from maintaining the index meanwhile.

    Where another one does, call `on_wait` and wait for it; without `on_wait` give False at once.
    """
    settings.MMSEARCH_INDEX_DIR.mkdir(parents=True, exist_ok=True)
    with (settings.MMSEARCH_INDEX_DIR / "maintenance.lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if on_wait is None:
                yield False
                return
            on_wait()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield True


def compact(index: SpaceIndex, *, force: bool = False, threads: int = 1) -> int:
    """Write new snapshots where they are due (or all, with `force`); returns how many."""
    written = 0
    for modality, store in index.replicas.items():
        if not (force or store.needs_compaction() or _holds_back_the_log(index, store)):
            continue
        started = time.perf_counter()
        if store.compact(threads=threads):
            written += 1
            logger.info(
                "Snapshot of %d %s vectors written in %.1f s",
                len(store),
                modality.value,
                time.perf_counter() - started,
            )
            log_resources("snapshot")
    return written


def _holds_back_the_log(index: SpaceIndex, store: Replica) -> bool:
    snapshot = store.stats().snapshot_position
    return bool(snapshot) and index.position - snapshot > LOG_LINES


def prune_log(index: SpaceIndex) -> int:
    """Delete changes that nobody alive needs, on any host; returns how many.

    This host's snapshots hold them, and so does every living reader. One that is further behind, as
    after a long death, reads its newer snapshot, or the whole space, anew.
    """
    stats = [store.stats() for store in index.replicas.values()]
    kept = [each.oldest_position for each in stats if each.snapshot_position]
    kept += _told_to(index)
    if not kept:
        return 0
    readers = presence.alive(presence.Role.SERVING).values_list("reads_from", flat=True)
    number = str(index.space_id)
    kept += [reads_from[number] for reads_from in readers if number in reads_from]
    floor = min(kept)
    space = EmbeddingSpace.objects.filter(pk=index.space_id)
    space.filter(log_start__lt=floor).update(log_start=floor)
    pruned = 0
    changes = VectorChange.objects.filter(space=index.space_id, seq__lte=floor)
    while pks := list(changes.values_list("pk", flat=True)[:PRUNE_BATCH]):
        with transaction.atomic():
            pruned += VectorChange.objects.filter(pk__in=pks).delete()[0]
    return pruned


def _told_to(index: SpaceIndex) -> list[int]:
    """How far stores on servers are: the one in use, and any that was written into of late."""
    positions = StorePosition.objects.filter(space=index.space_id)
    used = Q(store=settings.MMSEARCH_VECTOR_STORE) | Q(written_at__gt=timezone.now() - STORE_GRACE)
    return list(positions.filter(used).values_list("applied_seq", flat=True))


def sweep_folders() -> int:
    """Delete snapshots of retired and unknown spaces after UNUSED_GRACE; returns how many spaces'.

    A folder that holds anything else than a space's folder does is left alone.
    """
    spaces = EmbeddingSpace.objects.exclude(state=EmbeddingSpace.State.RETIRED)
    used = {space_directory(space) for space in spaces}
    expected = {UNUSED, *(modality.value for modality in PARTS)}
    swept = 0
    for folder in settings.MMSEARCH_INDEX_DIR.iterdir():
        if not folder.is_dir() or not {each.name for each in folder.iterdir()} <= expected:
            continue
        mark = folder / UNUSED
        if folder in used:
            mark.unlink(missing_ok=True)
        elif not mark.exists():
            mark.touch()
        elif time.time() - mark.stat().st_mtime > UNUSED_GRACE:
            shutil.rmtree(folder)
            swept += 1
            logger.info("Deleted the index of a space that is no more: %s", folder)
    return swept


def delete_index(space: EmbeddingSpace) -> None:
    """Delete a retired space's snapshots, and what stores on servers hold of it.

    Who still reads the snapshots keeps what it has open. A server that does not answer is asked
    again by the worker.
    """
    shutil.rmtree(space_directory(space), ignore_errors=True)
    with suppress(StoreUnavailable):
        remote_index.drop(space)


def compare(index: SpaceIndex) -> list[Comparison]:
    """Compare every vector of the index with the database, after following the log."""
    index.catch_up()
    return [_compare(index, modality, store) for modality, store in index.stores.items()]


def measure_recall(index: SpaceIndex) -> None:
    """Measure recall@10 of the live index, and tune it where it is low.

    The queries are stored vectors (who looks for the like of an item) and, where enough were asked
    of this process, the texts asked last: to them a picture's neighbours are of another modality.
    """
    asked = recent_query_vectors(index.space)[-RECALL_SAMPLE:]
    for modality, store in index.replicas.items():
        if not len(store):
            continue
        groups = [_sample(store)]
        if len(asked) == RECALL_SAMPLE:
            groups.append(asked)
        tuning = store.tune(*groups)
        index.tunings[modality] = tuning
        if tuning.effort != tuning.previous_effort:
            logger.warning(
                "Search effort of the %s index moved from %d to %d: recall@10 is now %.4f",
                modality.value,
                tuning.previous_effort,
                tuning.effort,
                tuning.recall,
            )


def _sample(store: Replica) -> Vectors:
    """Sampled stored vectors, disturbed a little so that none is its own nearest by far."""
    ids = store.ids()
    random = np.random.default_rng()
    chosen = random.choice(ids, size=min(RECALL_SAMPLE, ids.size), replace=False)
    vectors = store.fetch(np.sort(chosen))
    noise = random.standard_normal(vectors.shape, dtype=np.float32)
    disturbed = vectors + noise * np.float32(0.5 / np.sqrt(store.dimension))
    unit: Vectors = disturbed / np.linalg.norm(disturbed, axis=1, keepdims=True)
    return unit


def _compare(index: SpaceIndex, modality: Modality, store: VectorStore) -> Comparison:
    rows = Embedding.objects.filter(space=index.space_id, modality=modality).order_by("item_id")
    indexed = _Scan(store)
    in_database = missing = different = 0
    unusable: list[int] = []
    for ids, vectors, bad in vector_batches(
        rows.values_list("item_id", "vector").iterator(LOAD_BATCH)
    ):
        in_database += ids.size + bad.size
        unusable += bad.tolist()
        found, stored = indexed.up_to(max(ids[-1:].tolist() + bad[-1:].tolist()))
        stale = int(np.isin(bad, found, assume_unique=True).sum())
        known, place = np.isin(ids, found, assume_unique=True), np.isin(found, ids)
        missing += int((~known).sum()) + bad.size - stale
        different += stale + int((stored[place] != vectors[known]).any(axis=1).sum())
    in_index = indexed.count + indexed.rest()
    replica = index.replicas.get(modality)
    return Comparison(
        modality=modality,
        in_database=in_database,
        in_index=in_index,
        missing=missing,
        surplus=in_index - (in_database - missing),
        different=different,
        damage=tuple(replica.verify()) if replica is not None else (),
        unusable=tuple(unusable),
    )


class _Scan:
    """What a store holds, read beside something else that ascends."""

    def __init__(self, store: VectorStore) -> None:
        self.count = 0
        """Vectors read so far."""
        self._batches = store.scan()
        self._ids: Ids = np.empty(0, np.int64)
        self._vectors: Vectors = np.empty((0, store.dimension), np.float32)

    def up_to(self, last: int) -> tuple[Ids, Vectors]:
        """What comes next, ids up to `last`."""
        while not self._ids.size or self._ids[-1] < last:
            batch = next(self._batches, None)
            if batch is None:
                break
            self._ids = np.concatenate((self._ids, batch[0]))
            self._vectors = np.concatenate((self._vectors, batch[1]))
        end = int(np.searchsorted(self._ids, last, side="right"))
        taken = self._ids[:end], self._vectors[:end]
        self._ids, self._vectors = self._ids[end:], self._vectors[end:]
        self.count += end
        return taken

    def rest(self) -> int:
        """Count of what comes after all that was read."""
        return self._ids.size + sum(ids.size for ids, _ in self._batches)
