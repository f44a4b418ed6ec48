"""The index of a space in a vector store on a server, which all processes share."""

from __future__ import annotations

from collections.abc import Callable, Collection

from django.conf import settings
from django.db.models import QuerySet
from django.utils.module_loading import import_string

from embeddings.encoders.base import Modality
from embeddings.models import Embedding, EmbeddingSpace
from search.index.space_index import SpaceIndex
from search.index.stored_vectors import LOOK_UP_BATCH
from search.index.stores.base import IdSet
from search.index.stores.remote import following
from search.index.stores.remote.engine import Engine
from search.index.stores.remote.positions import Key
from search.index.stores.remote.store import RemoteStore
from search.models import StorePosition


def engine_of(space: EmbeddingSpace, modality: Modality, address: str) -> Engine:
    """What searches one modality of a space, in the store of that name."""
    kind, _, _ = address.partition("://")
    backend: type[Engine] = import_string(settings.MMSEARCH_STORES[kind]["BACKEND"])
    collection = f"mmsearch_{space.pk}_{space.generation}_{modality.value}"
    return backend(collection, space.dimension, address=address)


class RemoteIndex(SpaceIndex):
    """What the server holds, and what the log says since it was last told."""

    def __init__(self, space: EmbeddingSpace) -> None:
        super().__init__(space)
        address = settings.MMSEARCH_VECTOR_STORE
        self.remote = {
            modality: RemoteStore(
                space.dimension,
                engine_of(space, modality, address),
                Key(address, space.pk, modality),
            )
            for modality in space.covers
        }
        self.stores = self.remote
        self.replicas = {}

    def tell(self, *, until: Callable[[], bool] = lambda: False) -> int:
        """Tell the server what it lacks; returns how many changes. Raises StoreUnavailable."""
        return sum(following.follow(store, until=until) for store in self.remote.values())

    def rebuild(self, *, on_read: Callable[[int], None] | None = None) -> set[int]:
        unusable = set[int]()
        for store in self.remote.values():
            written = following.follow(store)
            if on_read is not None:
                on_read(written)
            unusable |= following.rewrite(store, on_read=on_read)
        return unusable

    def _follow(self) -> None:
        end, log_start = self.log_end()
        for store in self.remote.values():
            store.sync(end, log_start)

    def _progress(self) -> str:
        return "the log is read. Ask again in a few seconds"

    def _count_all(self) -> int:
        return self._vectors().values("item").distinct().count()

    def _count_of(self, modalities: Collection[Modality], allowed: IdSet) -> int:
        held = self._vectors().filter(modality__in=modalities)
        chunks = (
            allowed.ids[start : start + LOOK_UP_BATCH].tolist()
            for start in range(0, allowed.ids.size, LOOK_UP_BATCH)
        )
        return sum(held.filter(item__in=c).values("item").distinct().count() for c in chunks)

    def _vectors(self) -> QuerySet[Embedding]:
        return Embedding.objects.filter(space=self.space_id)


def drop(space: EmbeddingSpace) -> None:
    """Delete what any store on a server holds of a retired space; later, where one is away."""
    for row in StorePosition.objects.filter(space=space):
        engine_of(space, Modality(row.modality), row.store).drop()
        row.delete()
