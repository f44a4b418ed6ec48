"""The index of a space: one vector store per modality, level with the change log.

One per space and process. Nobody pushes into it: every search (and, in a serving process, a
background thread) pulls what the log says has changed.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Final

from django.conf import settings
from django.db.models import Max

from embeddings.encoders.base import Modality
from embeddings.models import EmbeddingSpace, VectorChange
from embeddings.per_space import PerSpace
from embeddings.spaces import SpaceError, SpaceHead, require_head
from search.index.stores.base import IdSet, VectorStore
from search.index.stores.replica import Replica, Tuning

CATCH_UP_WAIT: Final = 2.0
"""Seconds that searches wait for a catch-up begun by another thread; they answer from what is
there after that, or that the index is loading."""
COUNT_SHARE: Final = 20
"""While the index changes, counting its items takes at most one part in this many of the time."""


class IndexLoadingError(SpaceError):
    """The index is read for the first time in this process, which takes long; come back later."""


def space_directory(space: EmbeddingSpace) -> Path:
    """Where a space's snapshots are: of no other space of this database, nor of another's."""
    return Path(settings.MMSEARCH_INDEX_DIR) / f"{space.pk}-{space.generation}"


class SpaceIndex(ABC):
    """The stores of one space, kept level with the database. Thread-safe."""

    stores: Mapping[Modality, VectorStore]
    replicas: Mapping[Modality, Replica]
    """Those of them that live in this process, which need care here."""

    def __init__(self, space: EmbeddingSpace) -> None:
        self.space = space
        self.space_id = space.pk
        self.tunings: dict[Modality, Tuning] = {}
        self.loaded = False
        self._lock = threading.Lock()
        self._loading_since: float | None = None
        self._count = (-1, 0.0, 0)  # position, when to count again, distinct items

    @property
    def position(self) -> int:
        """Change-log position up to which every search sees everything."""
        return min(store.position() for store in self.stores.values())

    @property
    def is_measured(self) -> bool:
        """Whether recall is known of every replica that holds anything, as it is now."""
        return all(
            modality in self.tunings for modality, store in self.replicas.items() if len(store)
        )

    def log_end(self) -> tuple[int, int]:
        """Last `seq` of the log, and the `seq` up to which it is pruned."""
        log_start = EmbeddingSpace.objects.values_list("log_start", flat=True).get(pk=self.space_id)
        changes = VectorChange.objects.filter(space=self.space_id)
        last = changes.aggregate(last=Max("seq"))["last"]
        return max(last or 0, log_start), log_start

    def held_log(self) -> int | None:
        """Position from where on this index still needs the log; None where it needs none.

        After a new start of its process, too: what is kept on disk counts as well.
        """
        return self.position if self.loaded else None

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
            raise IndexLoadingError(f"The index is loading: {self._progress()}.")
        try:
            self._catch_up()
        finally:
            self._lock.release()

    def catch_up(self) -> None:
        """Follow the log to its end, whatever there is to take over."""
        with self._lock:
            self._catch_up()

    def tell(self, *, at_most: int | None = None) -> int:
        """Tell stores on a server what they lack, `at_most` so many windows of changes each.

        Returns how many changes. Where another process is at it, or the stores are here, none.
        """
        del at_most
        return 0

    @abstractmethod
    def rebuild(self, *, on_read: Callable[[int], None] | None = None) -> set[int]:
        """Read every vector from the database anew; readers see the old state until the end.

        `on_read` is told of each batch read how many vectors it held. Returns the keys of items
        with a vector that is not usable.
        """

    def count_items(self, modalities: Collection[Modality], allowed: IdSet | None = None) -> int:
        """Count of items (of those allowed) with a vector of one of the modalities.

        Of several modalities it may lag while a large index changes.
        """
        if allowed is not None:
            return self._count_of(modalities, allowed)
        if len(modalities) == 1:
            return sum(len(self.stores[modality]) for modality in modalities)
        position, due, count = self._count
        started = time.monotonic()
        if position != self.position and started >= due:
            position = self.position
            count = self._count_all()
            cost = time.monotonic() - started
            self._count = (position, started + COUNT_SHARE * cost, count)
        return count

    @abstractmethod
    def _follow(self) -> None:
        """Bring every store level with the log's end."""

    @abstractmethod
    def _progress(self) -> str:
        """How far the first load is."""

    @abstractmethod
    def _count_all(self) -> int:
        """Count of items with a vector."""

    @abstractmethod
    def _count_of(self, modalities: Collection[Modality], allowed: IdSet) -> int:
        """Count of those allowed that have a vector of one of the modalities."""

    def _catch_up(self) -> None:
        if self.loaded:
            self._follow()
            return
        self._loading_since = time.monotonic()
        try:
            self._follow()
            self.loaded = True
        finally:
            self._loading_since = None


def is_local() -> bool:
    """Whether every process has the vectors for itself, rather than a server for all."""
    return str(settings.MMSEARCH_VECTOR_STORE) == "faiss"


def _build(space: EmbeddingSpace) -> SpaceIndex:
    from search.index.local_index import LocalIndex
    from search.index.remote_index import RemoteIndex

    return LocalIndex(space) if is_local() else RemoteIndex(space)


_indexes: PerSpace[SpaceIndex] = PerSpace(_build)


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


def held_logs(space_ids: Iterable[int]) -> dict[str, int]:
    """From where on this process needs the logs of these spaces, by the space's number."""
    indexes = {space_id: _indexes.known(space_id) for space_id in space_ids}
    held = {space_id: index.held_log() for space_id, index in indexes.items() if index is not None}
    return {str(space_id): start for space_id, start in held.items() if start is not None}


def let_go_of_index(space: EmbeddingSpace) -> None:
    """Forget one index; the next use builds it from snapshot and database."""
    _indexes.forget(space)
