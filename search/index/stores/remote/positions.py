"""How far remote stores have followed the change log: rows, and who may write at a time."""

from __future__ import annotations

import dataclasses
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from django.conf import settings
from django.db import connection, transaction

from embeddings.encoders.base import Modality
from search.index.stores.remote.reserve import Reserve
from search.models import StorePosition


@dataclasses.dataclass(frozen=True)
class Key:
    """One modality of a space in one store."""

    store: str
    """All of MMSEARCH_VECTOR_STORE."""
    space_id: int
    modality: Modality

    def row(self) -> StorePosition:
        """How far it is; of a store that nothing was ever written into the beginning."""
        found = StorePosition.objects.filter(**self._fields).defer("sample").first()
        return StorePosition(**self._fields) if found is None else found

    def reserve(self) -> Reserve:
        """Which ids its sample is made of."""
        row = StorePosition.objects.filter(**self._fields).first()
        return Reserve.empty() if row is None else reserve_of(row)

    @contextmanager
    def held(self) -> Iterator[StorePosition | None]:
        """The row, for the one that writes into the store; None where another is at it.

        A row lock ends with its holder, wherever that runs. SQLite has no other hosts, and one
        writer that must not wait for a server: there it is a file's.
        """
        StorePosition.objects.get_or_create(**self._fields)
        rows = StorePosition.objects.filter(**self._fields)
        if connection.features.has_select_for_update_skip_locked:
            with transaction.atomic():
                yield rows.select_for_update(skip_locked=True).first()
            return
        settings.MMSEARCH_INDEX_DIR.mkdir(parents=True, exist_ok=True)
        name = f"store-{self.space_id}-{self.modality.value}.lock"
        with (settings.MMSEARCH_INDEX_DIR / name).open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            yield rows.get()

    @property
    def _fields(self) -> dict[str, Any]:
        return {"store": self.store, "space_id": self.space_id, "modality": self.modality.value}


def note(row: StorePosition, reserve: Reserve | None = None, **fields: object) -> None:
    """Write how far a store is now."""
    if reserve is not None:
        fields |= {"sample": reserve.ids.astype("<i8").tobytes(), "sample_is_all": reserve.is_all}
    for name, value in fields.items():
        setattr(row, name, value)
    row.save(update_fields=[*fields, "written_at"])


def reserve_of(row: StorePosition) -> Reserve:
    """Which ids the sample is made of, as the row says."""
    return Reserve(np.frombuffer(row.sample, "<i8").astype(np.int64), row.sample_is_all)
