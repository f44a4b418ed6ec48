"""What tells a remote store of the change log: one process at a time, wherever it runs."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
from django.db.models import Max

from embeddings.models import EmbeddingSpace, VectorChange
from search.index.stored_vectors import halves_of, vector_batches
from search.index.stores.base import Halves, Ids, Vectors
from search.index.stores.remote.positions import note
from search.index.stores.remote.reserve import Reserve
from search.index.stores.remote.store import RemoteStore
from search.models import StorePosition

logger = logging.getLogger(__name__)

WINDOW: Final = 5_000
"""Vectors written at a time: what a process that dies has to do again."""
PAUSE: Final = 0.1
"""Seconds until it is asked again whether another process still writes."""
NOTHING: Final[Ids] = np.empty(0, np.int64)


def follow(
    store: RemoteStore,
    *,
    at_most: int | None = None,
    on_written: Callable[[int], None] = lambda _: None,
) -> int:
    """Tell the store all that it lacks, or `at_most` so many windows; returns how many vectors.

    `on_written` is told of each window. Where another process is at it, nothing is done. Raises
    StoreUnavailable.
    """
    written = 0
    started = time.perf_counter()
    for _ in itertools.count() if at_most is None else range(at_most):
        with store.key.held() as row:
            count = None if row is None else _step(store, row)
        if count is None:
            break
        written += count
        on_written(count)
    if written:
        logger.info(
            "Vector store took %d changes of %s vectors in %.1f s",
            written,
            store.key.modality.value,
            time.perf_counter() - started,
        )
    return written


def rewrite(store: RemoteStore, *, on_read: Callable[[int], None]) -> set[int]:
    """Write every vector again, and take away what the database has not; searches go on.

    Returns the keys of items with a vector that is not usable. Raises StoreUnavailable.
    """
    unusable = set[int]()
    store.engine.prepare()
    after: int | None = 0
    while after is not None:
        with _waited_for(store) as row:
            ids, vectors, bad, after = _stored(store, after)
            store.write(row, ids, vectors.astype(np.float16), bad)
        unusable.update(bad.tolist())
        on_read(ids.size)
    for ids, _ in store.engine.scan():
        with _waited_for(store) as row:
            there, _ = halves_of(store.rows(), ids, store.dimension)
            gone = ids[~np.isin(ids, there)]
            if gone.size:
                store.write(row, NOTHING, _none(store), gone)
    return unusable


@contextmanager
def _waited_for(store: RemoteStore) -> Iterator[StorePosition]:
    """The row, once no other process writes: what is read meanwhile would be old."""
    while True:
        with store.key.held() as row:
            if row is not None:
                yield row
                return
        time.sleep(PAUSE)


def _step(store: RemoteStore, row: StorePosition) -> int | None:
    """Write one window; None where the store is level."""
    space = EmbeddingSpace.objects.get(pk=row.space_id)
    last = VectorChange.objects.filter(space=space).aggregate(last=Max("seq"))["last"]
    end = max(last or 0, space.log_start)
    is_lost = store.engine.prepare() and (row.applied_seq > 0 or row.filled_to is not None)
    if is_lost:
        logger.warning("%s has gone from its server; it is filled again", row)
    is_behind = row.filled_to is None and not space.log_start <= row.applied_seq <= end
    if is_lost or is_behind:
        # With what the database has now; what changes meanwhile is in the log after its end.
        store.engine.drop()
        store.engine.prepare()
        note(row, Reserve.empty(), applied_seq=end, filled_to=0)
    if row.filled_to is not None:
        return _fill(store, row, row.filled_to)
    return _replay(store, row, end)


def _fill(store: RemoteStore, row: StorePosition, filled_to: int) -> int:
    ids, vectors, bad, last = _stored(store, filled_to)
    if last is None:
        store.engine.settle()
    store.write(row, ids, vectors.astype(np.float16), bad, filled_to=last)
    return int(ids.size)


def _replay(store: RemoteStore, row: StorePosition, end: int) -> int | None:
    if row.applied_seq == end:
        return None
    lines = VectorChange.objects.filter(
        space=row.space_id, modality=row.modality, seq__gt=row.applied_seq, seq__lte=end
    ).order_by("seq")
    window = list(lines.values_list("seq", "vector_item")[:WINDOW])
    is_last = len(window) < WINDOW
    changed = np.unique(np.array([item for _, item in window], dtype=np.int64))
    ids, halves = halves_of(store.rows(), changed, store.dimension)
    usable = np.isfinite(halves).all(axis=1)
    ids, halves = ids[usable], halves[usable]
    removed = changed[~np.isin(changed, ids)]
    store.write(row, ids, halves, removed, applied_seq=end if is_last else window[-1][0])
    if is_last:
        store.engine.settle()
    return len(window)


def _stored(store: RemoteStore, after: int) -> tuple[Ids, Vectors, Ids, int | None]:
    """The next WINDOW vectors of items beyond a key, see vector_batches; the last key, if any."""
    rows = store.rows().filter(item__gt=after).order_by("item_id").values_list("item_id", "vector")
    batch = next(vector_batches(iter(rows[:WINDOW])), None)
    if batch is None:
        return NOTHING, _none(store).astype(np.float32), NOTHING, None
    ids, vectors, bad = batch
    return ids, vectors, bad, max(ids[-1:].tolist() + bad[-1:].tolist())


def _none(store: RemoteStore) -> Halves:
    return np.empty((0, store.dimension), np.float16)
