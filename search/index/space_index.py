"""The index of a space: one vector store per modality, following the change log.

One per space and process. Nobody pushes into it: every search (and, in a serving process, a
background thread) pulls what the log says has changed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from django.conf import settings
from django.db.models import Max
from django.utils.module_loading import import_string

from embeddings.encoders.base import Modality
from embeddings.models import Embedding, EmbeddingSpace, VectorChange
from embeddings.per_space import PerSpace
from embeddings.spaces import SpaceError, SpaceHead, require_head
from search.index.stored_vectors import LOAD_BATCH, vector_batches
from search.index.stores.base import Tuning, VectorStore

logger = logging.getLogger(__name__)

CATCH_UP_WAIT: Final = 2.0
"""Seconds that searches wait for a catch-up begun by another thread; they answer from what is
there after that, or that the index is loading."""
COUNT_SHARE: Final = 20
"""While the index changes, counting its items takes at most one part in this many of the time."""


class IndexLoadingError(SpaceError):
    """The index is read for the first time in this process, which takes long; come back later."""


def build_store(space: EmbeddingSpace, modality: Modality) -> VectorStore:
    """The configured store for one modality of a space."""
    configured: dict[str, Any] = settings.MMSEARCH_STORES[settings.MMSEARCH_VECTOR_STORE]
    backend = import_string(configured["BACKEND"])
    directory = space_directory(space)
    store: VectorStore = backend(
        space.dimension,
        directory=directory / modality.value,
        key=f"{directory.name}/{modality.value}",
        **configured.get("OPTIONS", {}),
    )
    return store


def space_directory(space: EmbeddingSpace) -> Path:
    """Where a space's snapshots are: of no other space of this database, nor of another's."""
    return Path(settings.MMSEARCH_INDEX_DIR) / f"{space.pk}-{space.generation}"


class SpaceIndex:
    """The stores of one space, kept level with the database. Thread-safe."""

    def __init__(self, space: EmbeddingSpace) -> None:
        self.space = space
        self.space_id = space.pk
        self.stores: dict[Modality, VectorStore] = {
            modality: build_store(space, modality) for modality in space.covers
        }
        self.tunings: dict[Modality, Tuning] = {}
        self.loaded = False
        self._lock = threading.Lock()
        self._loading_since: float | None = None
        self._read = self._to_read = 0  # vectors, while loading
        self._count = (-1, 0.0, 0)  # position, when to count again, distinct items

    @property
    def position(self) -> int:
        """Change-log position up to which every search sees everything."""
        return min(store.position() for store in self.stores.values())

    @property
    def is_measured(self) -> bool:
        """Whether recall is known of every store that holds anything, as it is now."""
        return all(
            modality in self.tunings for modality, store in self.stores.items() if len(store)
        )

    def log_end(self) -> tuple[int, int]:
        """Last `seq` of the log, and the `seq` up to which it is pruned."""
        log_start = EmbeddingSpace.objects.values_list("log_start", flat=True).get(pk=self.space_id)
        changes = VectorChange.objects.filter(space=self.space_id)
        last = changes.aggregate(last=Max("seq"))["last"]
        return max(last or 0, log_start), log_start

    def sync(self) -> None:
        """Follow the log to its present end, so that the next search sees every commit.

        Raises IndexLoadingError where another thread has been at the first load for CATCH_UP_WAIT.
        """
        if self.loaded and self.log_end()[0] == self.position:
            return
        patience = CATCH_UP_WAIT
        if (since := self._loading_since) is not None:
            # Not the same wait for each that comes: they would take up every thread there is.
            patience = max(0.0, since + CATCH_UP_WAIT - time.monotonic())
        if not self._lock.acquire(timeout=patience):
            if self.loaded:
                return  # another thread is catching up on much; answer from what is there
            raise IndexLoadingError(
                f"The index is loading: {self._read:,} of {self._to_read:,} vectors are read."
                " Ask again in a few seconds."
            )
        try:
            self._catch_up()
        finally:
            self._lock.release()

    def catch_up(self) -> None:
        """Take over a newer snapshot, if there is one, and follow the log to its end."""
        with self._lock:
            self._catch_up()

    def rebuild(self, *, on_read: Callable[[int], None] | None = None) -> set[int]:
        """Read every vector from the database anew; readers see the old state until the end.

        `on_read` is told of each batch read how many vectors it held. Returns the keys of items
        with a vector that is not usable.
        """
        unusable = set[int]()
        with self._lock:
            end, _ = self.log_end()
            for modality, store in self.stores.items():
                with _whole_or_nothing(store):
                    unusable.update(self._load(modality, store, end, on_read))
            self.loaded = True
        return unusable

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
        if self.loaded:
            self._follow()
            return
        self._read = 0
        self._to_read = Embedding.objects.filter(space=self.space_id).count()
        self._loading_since = time.monotonic()
        try:
            self._follow()
            self.loaded = True
        finally:
            self._loading_since = None

    def _follow(self) -> None:
        started = time.perf_counter()
        end, log_start = self.log_end()
        for modality, store in self.stores.items():
            with _whole_or_nothing(store):
                staged = store.refresh()
                if staged is not None:
                    self.tunings.pop(modality, None)  # it told of another snapshot
                start = store.position() if staged is None else staged
                if start == end and staged is None and self.loaded:
                    continue
                replayable = start > 0 and log_start <= start <= end
                if replayable and self._replay(modality, store, start, end):
                    self._read += len(store)
                else:
                    self._load(modality, store, end)
        elapsed = time.perf_counter() - started
        if elapsed > 0.5:
            logger.info("Index caught up to change %d in %.2f s", end, elapsed)

    def _load(
        self,
        modality: Modality,
        store: VectorStore,
        end: int,
        on_read: Callable[[int], None] | None = None,
    ) -> list[int]:
        """Returns the keys of items whose vector is not usable."""
        started = time.perf_counter()
        store.reset()
        rows = Embedding.objects.filter(space=self.space_id, modality=modality).order_by("item")
        count, unusable = 0, list[int]()
        for ids, vectors, bad in vector_batches(
            rows.values_list("item_id", "vector").iterator(LOAD_BATCH)
        ):
            unusable += bad.tolist()
            store.upsert(ids, vectors)
            count += ids.size
            self._read += ids.size
            if on_read is not None:
                on_read(ids.size)
        store.commit(end)
        elapsed = time.perf_counter() - started
        logger.info("Index loaded %d %s vectors in %.2f s", count, modality.value, elapsed)
        return unusable

    def _replay(self, modality: Modality, store: VectorStore, start: int, end: int) -> bool:
        """Take over the changes after `start`; False where they were pruned meanwhile."""
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
            for ids, vectors, _ in vector_batches(iter(rows)):
                store.upsert(ids, vectors)
                window.difference_update(ids.tolist())
                added += ids.size
            store.remove(np.array(sorted(window), dtype=np.int64))
            removed += len(window)
        if self.log_end()[1] > start:
            return False
        store.commit(end)
        if added or removed:
            logger.info(
                "Index took %d and dropped %d %s vectors in %.1f ms",
                added,
                removed,
                modality.value,
                (time.perf_counter() - started) * 1000,
            )
        return True


@contextmanager
def _whole_or_nothing(store: VectorStore) -> Iterator[None]:
    """What a failed catch-up staged must never be the base of the next."""
    try:
        yield
    except BaseException:
        store.rollback()
        raise


_indexes: PerSpace[SpaceIndex] = PerSpace(SpaceIndex)


def index_of(space: EmbeddingSpace) -> SpaceIndex:
    """The space's index, one a process; it is loaded by its first `sync`."""
    return _indexes.of(space)


def active_index() -> SpaceIndex:
    """The active space's index. Raises SpaceError where no space is active."""
    return _of_head(require_head())


def synced_index(space: EmbeddingSpace | None = None) -> SpaceIndex:
    """The index that answers, or that of `space`, level with the log. Raises SpaceError.

    A query asks once, and stays with this index and its `space` to its end, whichever space is
    active by then.
    """
    head = require_head(space)
    index = _of_head(head)
    if not index.loaded or index.position != head.log_end:
        index.sync()
    return index


def _of_head(head: SpaceHead) -> SpaceIndex:
    """The index of a space, for every search: its row is read for the first alone."""
    index = _indexes.known(head.space_id)
    return index_of(EmbeddingSpace.objects.get(pk=head.space_id)) if index is None else index


def let_go_of_index(space: EmbeddingSpace) -> None:
    """Forget one index; the next use builds it from snapshot and database."""
    _indexes.forget(space)
