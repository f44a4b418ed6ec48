"""Stores on servers: the same contract, however far behind the server is."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from catalog.models import Item
from embeddings.encoders.base import Modality
from embeddings.models import Embedding, EmbeddingSpace, VectorChange
from search.index.remote_index import engine_of
from search.index.stores.base import Ids, Vectors, VectorStore
from search.index.stores.remote.positions import Key
from search.index.stores.remote.store import RemoteStore
from tests.search.index.stores.clusters import keys
from tests.search.index.stores.contract import DIMENSION, StoreContract

if TYPE_CHECKING:
    from tests.servers import Milvus

MODALITY = Modality.TEXT


def make_space() -> EmbeddingSpace:
    return EmbeddingSpace.objects.create(
        fingerprint="remote", source="remote", model="remote", dimension=DIMENSION,
        modalities=[MODALITY.value],
    )  # fmt: skip


def make_store(space: EmbeddingSpace, address: str) -> RemoteStore:
    key = Key(address, space.pk, MODALITY)
    return RemoteStore(DIMENSION, engine_of(space, MODALITY, address), key)


def write(space: EmbeddingSpace, ids: Ids, vectors: Vectors, removed: Ids) -> int:
    """As the worker and deletions do; returns where the log ends."""
    items = (Item(pk=pk, item_id=f"item-{pk}", caption=".") for pk in ids.tolist())
    Item.objects.bulk_create(items, ignore_conflicts=True)
    Embedding.objects.filter(space=space, item__in=removed.tolist()).delete()
    Embedding.objects.bulk_create(
        [
            Embedding(
                space=space, item_id=pk, modality=MODALITY, content_hash=".",
                vector=vector.astype("<f2").tobytes(),
            )
            for pk, vector in zip(ids.tolist(), vectors, strict=True)
        ],
        update_conflicts=True,
        unique_fields=["space", "modality", "item"],
        update_fields=["vector"],
    )  # fmt: skip
    VectorChange.objects.bulk_create(
        VectorChange(space=space, modality=MODALITY, vector_item=pk)
        for pk in [*ids.tolist(), *removed.tolist()]
    )
    return VectorChange.objects.order_by("-seq").values_list("seq", flat=True)[0]


@pytest.mark.servers
@pytest.mark.django_db
@pytest.mark.timeout(400)  # Milvus starts within the first test's time
class RemoteContract(StoreContract):
    """Each time after the server was told, or not, or now and then."""

    @pytest.fixture(params=["told", "untold", "told now and then"])
    def store(self, request: pytest.FixtureRequest, address: str) -> Iterator[VectorStore]:
        self.space = make_space()
        is_told = {"told": [True], "untold": [False]}.get(request.param, [True, False])
        self.is_told = itertools.cycle(is_told)
        store = make_store(self.space, address)
        yield store
        store.engine.drop()

    def apply(
        self, store: VectorStore, ids: Ids, vectors: Vectors, removed: Ids | None = None
    ) -> None:
        assert isinstance(store, RemoteStore)
        gone = keys() if removed is None else removed
        end = write(self.space, ids, vectors, gone)
        if next(self.is_told):
            store.apply(end, ids, vectors, gone)
        store.sync(end, 0)


class TestMilvus(RemoteContract):
    @pytest.fixture
    def address(self, milvus_server: Milvus) -> str:
        return milvus_server.url


class TestPgvector(RemoteContract):
    @pytest.fixture
    def address(self) -> str:
        return "pgvector"
