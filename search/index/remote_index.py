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

    def tell(self, *, at_most: int | None = None) -> int:
        end, _ = self.log_end()
        return sum(
            following.follow(store, at_most=at_most)
            for store in self.remote.values()
            if at_most is None or not store.key.row().is_level(end)  # it may have lost all
        )

    def rebuild(self, *, on_read: Callable[[int], None] | None = None) -> set[int]:
        unusable = set[int]()
        for store in self.remote.values():
            if store.key.row().applied_seq:
                unusable |= following.rewrite(store, on_read=on_read or _nobody)
            following.follow(store, on_written=on_read or _nobody)
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


def _nobody(_count: int) -> None:
    """Who does not ask is told nothing."""


def spaces_to_drop() -> QuerySet[EmbeddingSpace]:
    """Retired spaces that a store on a server still has."""
    retired = EmbeddingSpace.objects.filter(state=EmbeddingSpace.State.RETIRED)
    return retired.filter(pk__in=StorePosition.objects.values("space"))


def drop(space: EmbeddingSpace) -> None:
    """Delete what stores on servers hold of a retired space. Raises StoreUnavailable."""
    for row in StorePosition.objects.filter(space=space):
        engine_of(space, Modality(row.modality), row.store).drop()
        row.delete()
