"""The index of a space as replicas in this process, each filled from snapshot and database."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
from django.conf import settings
from django.utils.module_loading import import_string

from embeddings.encoders.base import Modality
from embeddings.models import Embedding, EmbeddingSpace, VectorChange
from search.index.space_index import SpaceIndex, space_directory
from search.index.stored_vectors import LOAD_BATCH, by_item, vector_batches
from search.index.stores.base import IdSet
from search.index.stores.replica import Replica

logger = logging.getLogger(__name__)


def build_store(space: EmbeddingSpace, modality: Modality) -> Replica:
    """The configured store for one modality of a space."""
    configured: dict[str, Any] = settings.MMSEARCH_STORES[settings.MMSEARCH_VECTOR_STORE]
    backend = import_string(configured["BACKEND"])
    directory = space_directory(space)
    store: Replica = backend(
        space.dimension,
        directory=directory / modality.value,
        key=f"{directory.name}/{modality.value}",
        **configured.get("OPTIONS", {}),
    )
    return store


class LocalIndex(SpaceIndex):
    """Takes over the newest snapshot and replays the log from there, or reads the database."""

    def __init__(self, space: EmbeddingSpace) -> None:
        super().__init__(space)
        self.stores = self.replicas = {
            modality: build_store(space, modality) for modality in space.covers
        }
        self._read = self._to_read = 0  # vectors, while loading
        self._loads_to: int | None = None  # position that a load under way will have

    def rebuild(self, *, on_read: Callable[[int], None] | None = None) -> set[int]:
        unusable = set[int]()
        with self._lock:
            end, _ = self.log_end()
            for modality, store in self.replicas.items():
                with _whole_or_nothing(store):
                    unusable.update(self._load(modality, store, end, on_read))
            self.loaded = True
        return unusable

    def held_log(self) -> int | None:
        stats = [store.stats() for store in self.replicas.values()]
        starts = [each.oldest_position for each in stats if each.snapshot_position]
        starts += [start for start in (super().held_log(), self._loads_to) if start is not None]
        return min(starts, default=None)

    def _progress(self) -> str:
        return f"{self._read:,} of {self._to_read:,} vectors are read. Ask again in a few seconds"

    def _count_all(self) -> int:
        # Ascending runs are merged in linear time: a tenth of np.union1d's, or less.
        ids = np.sort(np.concatenate([s.ids() for s in self.replicas.values()]), kind="stable")
        return ids.size - int(np.count_nonzero(ids[1:] == ids[:-1]))

    def _count_of(self, modalities: Collection[Modality], allowed: IdSet) -> int:
        held = [self.replicas[modality].holds(allowed.ids) for modality in modalities]
        return int(np.count_nonzero(np.any(held, axis=0)))

    def _catch_up(self) -> None:
        if not self.loaded:
            self._read = 0
            self._to_read = Embedding.objects.filter(space=self.space_id).count()
        super()._catch_up()

    def _follow(self) -> None:
        started = time.perf_counter()
        end, log_start = self.log_end()
        for modality, store in self.replicas.items():
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
        store: Replica,
        end: int,
        on_read: Callable[[int], None] | None = None,
    ) -> list[int]:
        """Returns the keys of items whose vector is not usable."""
        started = time.perf_counter()
        self._loads_to = end
        store.reset()
        rows = Embedding.objects.filter(space=self.space_id, modality=modality)
        count, unusable = 0, list[int]()
        for ids, vectors, bad in vector_batches(by_item(rows)):
            unusable += bad.tolist()
            store.upsert(ids, vectors)
            count += ids.size
            self._read += ids.size
            if on_read is not None:
                on_read(ids.size)
        store.commit(end)
        self._loads_to = None
        elapsed = time.perf_counter() - started
        logger.info("Index loaded %d %s vectors in %.2f s", count, modality.value, elapsed)
        return unusable

    def _replay(self, modality: Modality, store: Replica, start: int, end: int) -> bool:
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
def _whole_or_nothing(store: Replica) -> Iterator[None]:
    """What a failed catch-up staged must never be the base of the next."""
    try:
        yield
    except BaseException:
        store.rollback()
        raise
