"""Milvus: a collection a space and modality, searched by HNSW."""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from search.index.stores.base import Ids, Vectors
from search.index.stores.remote.engine import Engine, StoreUnavailable

if TYPE_CHECKING:
    from django.core.checks import CheckMessage
    from pymilvus import MilvusClient

logger = logging.getLogger(__name__)

SEARCH_TIMEOUT: Final = 3.0
"""Seconds for an answer that somebody waits for, and to notice that none comes."""
TIMEOUT: Final = 60.0
"""Seconds for anything else."""
REST: Final = 2.0
"""Seconds in which a server that did not answer is not asked again: threads would pile up."""
M: Final = 16
EF_CONSTRUCTION: Final = 128
EF_SEARCH: Final = 128
"""Candidates on the way, at least."""
WRITE_BATCH: Final = 2_000
"""Vectors a message."""
SETTLE_ROWS: Final = 4_000
"""New vectors, up to which it reads them all."""
SCAN_BATCH: Final = 4_000
"""Vectors an answer."""


class MilvusEngine(Engine):
    """Writes are seen by whoever searches after `write` returned, at bounded consistency too."""

    most: ClassVar[int] = 16_384
    exact_ids: ClassVar[int] = 0

    _unsettled = 0

    def prepare(self) -> bool:
        with _reaching(self.address) as client:
            if client.has_collection(self.collection, timeout=SEARCH_TIMEOUT):
                return False
            from pymilvus import DataType

            schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
            schema.add_field("item", DataType.INT64, is_primary=True)
            schema.add_field("vector", DataType.FLOAT_VECTOR, dim=self.dimension)
            index = client.prepare_index_params()
            index.add_index(
                "vector",
                index_type="HNSW",
                metric_type="IP",
                params={"M": M, "efConstruction": EF_CONSTRUCTION},
            )
            client.create_collection(
                self.collection,
                schema=schema,
                index_params=index,
                consistency_level="Bounded",
                timeout=TIMEOUT,
            )
        return True

    def write(self, ids: Ids, vectors: Vectors, removed: Ids) -> None:
        with _reaching(self.address) as client:
            for start in range(0, removed.size, WRITE_BATCH):
                gone = removed[start : start + WRITE_BATCH].tolist()
                client.delete(self.collection, ids=gone, timeout=TIMEOUT)
            self._unsettled += ids.size
            for start in range(0, ids.size, WRITE_BATCH):
                part = slice(start, start + WRITE_BATCH)
                rows = [
                    {"item": item, "vector": vector}
                    for item, vector in zip(ids[part].tolist(), vectors[part], strict=True)
                ]
                client.upsert(self.collection, rows, timeout=TIMEOUT)
            # Returns once all that was written before is to be found.
            self._query(client, "item < 0", 1, consistency_level="Strong", timeout=TIMEOUT)

    def settle(self) -> None:
        """Have the graph built of what it searches by a coarser index, as it does what is new."""
        if self._unsettled < SETTLE_ROWS:
            return
        self._unsettled = 0
        with _reaching(self.address) as client:
            client.flush(self.collection, timeout=TIMEOUT)

    def search(self, vector: Vectors, count: int, allowed: Ids | None) -> Ids:
        with _reaching(self.address) as client:
            (hits,) = client.search(
                self.collection,
                [vector],
                filter="" if allowed is None else f"item in {allowed.tolist()}",
                limit=count,
                search_params={"params": {"ef": max(EF_SEARCH, count)}},
                timeout=SEARCH_TIMEOUT,
            )
        # An item being replaced may be there twice.
        return np.array(list(dict.fromkeys(hit["id"] for hit in hits)), dtype=np.int64)

    def scan(self) -> Iterator[tuple[Ids, Vectors]]:
        after = -1
        while True:
            with _reaching(self.address) as client:
                rows = self._query(client, f"item > {after}", SCAN_BATCH, fields=["item", "vector"])
            if not rows:
                return
            ids = np.array([row["item"] for row in rows], dtype=np.int64)
            vectors = np.array([row["vector"] for row in rows], dtype=np.float32)
            ids, places = np.unique(ids, return_index=True)
            after = int(ids[-1])
            yield ids, vectors[places]

    def drop(self) -> None:
        with _reaching(self.address) as client:
            client.drop_collection(self.collection, timeout=TIMEOUT)

    @classmethod
    def check(cls, address: str) -> list[CheckMessage]:
        from django.core.checks import Error

        if find_spec("pymilvus") is not None:
            return []
        return [
            Error(
                f"MMSEARCH_VECTOR_STORE={address} needs the package pymilvus.",
                hint="Install it: `.venv/bin/pip install -r requirements-scale.txt`.",
                id="search.E003",
            )
        ]

    def _query(
        self,
        client: MilvusClient,
        condition: str,
        limit: int,
        *,
        fields: list[str] | None = None,
        consistency_level: str = "Strong",
        timeout: float = TIMEOUT,
    ) -> list[dict[str, Any]]:
        """Rows of items in ascending order."""
        return list(
            client.query(
                self.collection,
                filter=condition,
                output_fields=fields or ["item"],
                limit=limit,
                consistency_level=consistency_level,
                timeout=timeout,
            )
        )


_silent: dict[str, float] = {}
"""When each server that did not answer may be asked again."""


@contextmanager
def _reaching(address: str) -> Iterator[MilvusClient]:
    """A client. What goes wrong with it is a StoreUnavailable."""
    from grpc import RpcError
    from pymilvus import MilvusException

    if time.monotonic() < _silent.get(address, 0.0):
        raise StoreUnavailable(_told(address, "it did not answer a moment ago"))
    try:
        yield _client(address, os.getpid())
    except (MilvusException, RpcError) as exc:
        reason = getattr(exc, "message", "") or str(exc)
        _silent[address] = time.monotonic() + REST
        logger.warning("Milvus at %s: %s", address, reason)
        raise StoreUnavailable(_told(address, reason)) from exc


def _told(address: str, reason: str) -> str:
    return (
        f"The vector store {address} does not answer ({reason}). Nothing is lost: see that it runs"
        " and can be reached; searches answer again by themselves."
    )


@functools.cache
def _client(address: str, _process: int) -> MilvusClient:
    """One a process: a forked child shares no connection."""
    from pymilvus import MilvusClient

    return MilvusClient(f"http://{address.partition('://')[2]}", timeout=SEARCH_TIMEOUT)
