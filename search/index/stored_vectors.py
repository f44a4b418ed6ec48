"""Vectors as they come from the database."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import islice
from operator import itemgetter
from typing import Final, TypeAlias

import numpy as np
from django.db.models import QuerySet

from embeddings.models import Embedding
from search.index.stores.base import Halves, Ids, Vectors

logger = logging.getLogger(__name__)

LOAD_BATCH: Final = 20_000
"""Vectors read at a time."""
LOOK_UP_BATCH: Final = 5_000
"""Keys a statement."""


StoredVector: TypeAlias = "tuple[int, bytes | memoryview[int]]"
"""An item's key and its vector as it is stored."""


def by_item(rows: QuerySet[Embedding]) -> Iterator[StoredVector]:
    """The vectors in the order of their items, a statement a batch.

    One statement for all would, behind a pool of connections, bring all into memory at once.
    """
    last = 0
    ordered = rows.order_by("item_id").values_list("item_id", "vector")
    while batch := list(ordered.filter(item_id__gt=last)[:LOAD_BATCH]):
        yield from batch
        last = batch[-1][0]


def vector_batches(
    rows: Iterator[StoredVector],
) -> Iterator[tuple[Ids, Vectors, Ids]]:
    """Stored vectors, LOAD_BATCH at a time: int64 (n,) item keys and float32 (n, d).

    One that is not finite is passed over, lest it stop every search: named in the log, and its
    item's key given last, int64 (m,).
    """
    while batch := list(islice(rows, LOAD_BATCH)):
        ids = np.array([item_id for item_id, _ in batch], dtype=np.int64)
        halves = np.frombuffer(b"".join(bytes(v) for _, v in batch), dtype="<f2")
        vectors = halves.reshape(len(batch), -1).astype(np.float32)
        usable = np.isfinite(vectors).all(axis=1)
        if not usable.all():
            bad = ", ".join(map(str, ids[~usable].tolist()))
            logger.error("Vectors with NaN or infinity passed over; embed again items %s", bad)
        yield ids[usable], vectors[usable], ids[~usable]


def halves_of(rows: QuerySet[Embedding], ids: Ids, dimension: int) -> tuple[Ids, Halves]:
    """Those of `ids`, ascending, that have a row, and their vectors, float16 (n, d)."""
    found: list[StoredVector] = []
    for start in range(0, ids.size, LOOK_UP_BATCH):
        chunk = ids[start : start + LOOK_UP_BATCH].tolist()
        found += rows.filter(item__in=chunk).values_list("item_id", "vector")
    found.sort(key=itemgetter(0))
    joined = b"".join(bytes(vector) for _, vector in found)
    keys = np.array([item for item, _ in found], dtype=np.int64)
    return keys, np.frombuffer(joined, "<f2").reshape(len(found), dimension).astype(np.float16)
