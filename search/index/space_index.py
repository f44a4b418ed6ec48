"""The index of the active space: one vector store per modality, following the change log.

One per process. Nobody pushes into it: every search (and, in a serving process, a background
thread) pulls what the log says has changed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from django.conf import settings
from django.core.signals import setting_changed
from django.db.models import Max
from django.utils.module_loading import import_string

from embeddings.encoders.base import Modality
from embeddings.models import Embedding, EmbeddingSpace, VectorChange
from embeddings.spaces import SpaceHead, require_head
from search.index.stores.base import Ids, Tuning, Vectors, VectorStore

logger = logging.getLogger(__name__)

LOAD_BATCH: Final = 20_000
"""Vectors read from the database at a time."""
CATCH_UP_WAIT: Final = 2.0
"""Seconds a search waits for another thread's catch-up before it answers from what is there."""
COUNT_SHARE: Final = 20
"""While the index changes, counting its items takes at most one part in this many of the time."""


def build_store(*, fingerprint: str, modality: Modality, dimension: int) -> VectorStore:
    """The configured store for one modality of a space."""
    configured: dict[str, Any] = settings.MMSEARCH_STORES[settings.MMSEARCH_VECTOR_STORE]
    backend = import_string(configured["BACKEND"])
    store: VectorStore = backend(
        dimension,
        directory=space_directory(fingerprint) / modality.value,
        key=f"{fingerprint}/{modality.value}",
        **configured.get("OPTIONS", {}),
    )
    return store


def space_directory(fingerprint: str) -> Path:
    """Where a space's snapshots are."""
    return Path(settings.MMSEARCH_INDEX_DIR) / fingerprint


class SpaceIndex:
    """The stores of one space, kept level with the database. Thread-safe."""

    def __init__(self, space: EmbeddingSpace) -> None:
        self.space_id = space.pk
        self.stores: dict[Modality, VectorStore] = {
            modality: build_store(
                fingerprint=space.fingerprint, modality=modality, dimension=space.dimension
            )
            for modality in Modality
        }
        self.tunings: dict[Modality, Tuning] = {}
        self.loaded = False
        self._lock = threading.Lock()
        self._count = (-1, 0.0, 0)  # position, when to count again, distinct items

    @property
    def position(self) -> int:
        """Change-log position up to which every search sees everything."""
        return min(store.position() for store in self.stores.values())

    def log_end(self) -> tuple[int, int]:
        """Last `seq` of the log, and the `seq` up to which it is pruned."""
        log_start = EmbeddingSpace.objects.values_list("log_start", flat=True).get(pk=self.space_id)
        changes = VectorChange.objects.filter(space=self.space_id)
        last = changes.aggregate(last=Max("seq"))["last"]
        return max(last or 0, log_start), log_start

    def sync(self) -> None:
        """Follow the log to its present end, so that the next search sees every commit."""
        if self.loaded and self.log_end()[0] == self.position:
            return
        if not self._lock.acquire(timeout=CATCH_UP_WAIT if self.loaded else -1):
            return  # another thread is catching up on much; answer from what is there
        try:
            self._catch_up()
        finally:
            self._lock.release()

    def catch_up(self) -> None:
        """Take over a newer snapshot, if there is one, and follow the log to its end."""
        with self._lock:
            self._catch_up()

    def rebuild(self) -> None:
        """Read every vector from the database anew; readers see the old state until the end."""
        with self._lock:
            end, _ = self.log_end()
            for modality, store in self.stores.items():
                with _whole_or_nothing(store):
                    self._load(modality, store, end)
            self.loaded = True

    def searchable_items(self) -> int:
        """Count of items with at least one vector; it may lag while a large index changes."""
        position, due, count = self._count
        started = time.monotonic()
        if position != self.position and started >= due:
            position = self.position
            # Ascending runs are merged in linear time: a tenth of np.union1d's, or less.
            ids = np.sort(np.concatenate([s.ids() for s in self.stores.values()]), kind="stable")
            count = ids.size - int(np.count_nonzero(ids[1:] == ids[:-1]))
            cost = time.monotonic() - started
            self._count = (position, started + COUNT_SHARE * cost, count)
        return count

    def _catch_up(self) -> None:
        started = time.perf_counter()
        end, log_start = self.log_end()
        for modality, store in self.stores.items():
            with _whole_or_nothing(store):
                staged = store.refresh()
                start = store.position() if staged is None else staged
                if start == end and staged is None and self.loaded:
                    continue
                if start == 0 or not log_start <= start <= end:
                    self._load(modality, store, end)
                else:
                    self._replay(modality, store, start, end)
        self.loaded = True
        elapsed = time.perf_counter() - started
        if elapsed > 0.5:
            logger.info("Index caught up to change %d in %.2f s", end, elapsed)

    def _load(self, modality: Modality, store: VectorStore, end: int) -> None:
        started = time.perf_counter()
        store.reset()
        rows = Embedding.objects.filter(space=self.space_id, modality=modality).order_by("item")
        count = 0
        for ids, vectors in vector_batches(
            rows.values_list("item_id", "vector").iterator(LOAD_BATCH)
        ):
            store.upsert(ids, vectors)
            count += ids.size
        store.commit(end)
        elapsed = time.perf_counter() - started
        logger.info("Index loaded %d %s vectors in %.2f s", count, modality.value, elapsed)

    def _replay(self, modality: Modality, store: VectorStore, start: int, end: int) -> None:
        started = time.perf_counter()
        changes = VectorChange.objects.filter(
            space=self.space_id, modality=modality, seq__gt=start, seq__lte=end
        )
        keys = changes.order_by("seq").values_list("vector_item", flat=True)
        added = removed = 0
        source = iter(keys.iterator(LOAD_BATCH))
        while window := set(islice(source, LOAD_BATCH)):
            rows = Embedding.objects.filter(
                space=self.space_id, modality=modality, item__in=window
            ).values_list("item_id", "vector")
            for ids, vectors in vector_batches(iter(rows)):
                store.upsert(ids, vectors)
                window.difference_update(ids.tolist())
                added += ids.size
            store.remove(np.array(sorted(window), dtype=np.int64))
            removed += len(window)
        store.commit(end)
        if added or removed:
            logger.info(
                "Index took %d and dropped %d %s vectors in %.1f ms",
                added,
                removed,
                modality.value,
                (time.perf_counter() - started) * 1000,
            )


@contextmanager
def _whole_or_nothing(store: VectorStore) -> Iterator[None]:
    """What a failed catch-up staged must never be the base of the next."""
    try:
        yield
    except BaseException:
        store.rollback()
        raise


def vector_batches(
    rows: Iterator[tuple[int, bytes | memoryview[int]]],
) -> Iterator[tuple[Ids, Vectors]]:
    """Stored vectors, LOAD_BATCH at a time: int64 (n,) item keys and float32 (n, d).

    One that is not finite is named in the log and passed over: it must not stop every search.
    """
    while batch := list(islice(rows, LOAD_BATCH)):
        ids = np.array([item_id for item_id, _ in batch], dtype=np.int64)
        halves = np.frombuffer(b"".join(bytes(v) for _, v in batch), dtype="<f2")
        vectors = halves.reshape(len(batch), -1).astype(np.float32)
        usable = np.isfinite(vectors).all(axis=1)
        if not usable.all():
            bad = ", ".join(map(str, ids[~usable].tolist()))
            logger.error("Vectors with NaN or infinity passed over; embed again items %s", bad)
        yield ids[usable], vectors[usable]


_current: dict[int, SpaceIndex] = {}
_current_lock = threading.Lock()


def current_index() -> SpaceIndex:
    """The active space's index, one per process; it is loaded by its first `sync`.

    Raises SpaceError where no space is active or another model's is.
    """
    return _index_of(require_head())


def synced_index() -> SpaceIndex:
    """The active space's index, level with the log. Raises SpaceError."""
    head = require_head()
    index = _index_of(head)
    if not index.loaded or index.position != head.log_end:
        index.sync()
    return index


def _index_of(head: SpaceHead) -> SpaceIndex:
    with _current_lock:
        if head.space_id not in _current:
            _current.clear()
            _current[head.space_id] = SpaceIndex(EmbeddingSpace.objects.get(pk=head.space_id))
        return _current[head.space_id]


def reset_index() -> None:
    """Forget the index; the next use builds it from snapshot and database."""
    with _current_lock:
        _current.clear()


def _reset_on_change(*, setting: str, **_: Any) -> None:
    if setting.startswith("MMSEARCH_"):
        reset_index()


setting_changed.connect(_reset_on_change, dispatch_uid="search.reset_index")
