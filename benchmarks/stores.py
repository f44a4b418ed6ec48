"""The vector stores beside each other: what they take to fill, and how they answer.

    python -m benchmarks stores [--vectors N]

Starts PostgreSQL and Milvus from the packages of requirements-scale-dev.txt, puts N vectors of 512
dimensions into the database, in clusters as a catalogue's are, and has each store filled as the
worker fills it. Searches go through the contract that `/search_text/` uses, one at a time: what is
found is scored again from the database. Prints a table.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks.load import percentile
from benchmarks.machine import describe
from benchmarks.processes import family, memory_mb

if TYPE_CHECKING:
    from embeddings.models import EmbeddingSpace
    from search.index.space_index import SpaceIndex
    from search.index.stores.base import Vectors, VectorStore

DIMENSION: Final = 512
TOPICS: Final = 2_000
SPREAD: Final = 0.8
"""Length of the noise around a topic's centre, whose length is 1."""
QUERIES: Final = 200
K: Final = 10
SHARE: Final = 0.01
"""Of the items that the filter allows."""
BATCH: Final = 10_000
HANDING_OVER: Final = 10.0
"""Seconds until Milvus searches what it has built."""
COLUMNS: Final = {
    "store": "",
    "load_s": "filled in s",
    "rate": "vectors/s",
    "recall": "recall@10",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "recall_filtered": "recall@10, 1 % allowed",
    "p50_filtered_ms": "p50 ms, 1 % allowed",
    "memory_mb": "memory MB",
}


def run_stores(*, vectors: int, say: Callable[[str], None]) -> None:
    """Measure every store and tell the table."""
    from tests.servers import Milvus, PostgreSQL  # packages of their own

    with PostgreSQL() as postgresql, Milvus() as milvus, tempfile.TemporaryDirectory() as data:
        rows = []
        for store in ("faiss", "pgvector", milvus.url):
            environment = os.environ | {
                "DJANGO_SETTINGS_MODULE": "mmsearch_project.settings",
                "MMSEARCH_DATA_DIR": data,
                "MMSEARCH_DATABASE_URL": postgresql.url,
                "MMSEARCH_VECTOR_STORE": store,
            }
            pids = {"pgvector": postgresql.pid, milvus.url: milvus.pid}
            command = [sys.executable, "-m", "benchmarks.stores", str(vectors)]
            say(f"{store.partition('://')[0]}: {vectors:,} vectors")
            told = subprocess.run(
                command, env=environment, check=True, stdout=subprocess.PIPE, text=True
            ).stdout
            row: dict[str, Any] = json.loads(told.splitlines()[-1])
            if store in pids:
                row["memory_mb"] = memory_mb(family(pids[store]))
            say(json.dumps(row))
            rows.append(row)
    say(_table(rows, vectors))


def _table(rows: list[dict[str, Any]], vectors: int) -> str:
    lines = [
        f"{vectors:,} vectors, {describe()['processor']}",
        "",
        f"| {' | '.join(COLUMNS.values())} |",
        f"|{' --- |' * len(COLUMNS)}",
        *(f"| {' | '.join(_cell(row[name]) for name in COLUMNS)} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


# What follows runs in a process of its own, once a store.


def measure(count: int) -> dict[str, Any]:
    """One store's figures."""
    from django.conf import settings

    from search.index.space_index import index_of
    from search.index.stores.base import IdSet

    space = _space(count)
    index = index_of(space)
    started = time.perf_counter()
    _fill(index)
    took = time.perf_counter() - started
    (store,) = index.stores.values()
    everything = np.concatenate([each for _, each in _batches(count)]).astype(np.float16)
    queries = next(_batches(QUERIES, seed=1))[1]
    allowed = np.sort(np.random.default_rng(2).choice(count, int(count * SHARE), replace=False) + 1)
    of_all = _ask(store, everything, np.arange(1, count + 1), queries, None)
    of_few = _ask(store, everything[allowed - 1], allowed, queries, IdSet(allowed))
    return {
        "store": str(settings.MMSEARCH_VECTOR_STORE).partition("://")[0],
        "load_s": took,
        "rate": count / took,
        "recall": of_all[0],
        "p50_ms": of_all[1],
        "p99_ms": of_all[2],
        "recall_filtered": of_few[0],
        "p50_filtered_ms": of_few[1],
        "memory_mb": store.stats().bytes_per_vector * count / 2**20,
    }


def _ask(
    store: VectorStore, vectors: Any, ids: Any, queries: Vectors, allowed: Any
) -> tuple[float, float, float]:
    """Recall, median and 99th percentile in ms."""
    nearest = np.zeros((len(queries), 0), np.float32), np.zeros((len(queries), 0), np.int64)
    for start in range(0, len(vectors), BATCH):
        scores = queries @ vectors[start : start + BATCH].astype(np.float32).T
        joined = np.concatenate((nearest[0], scores), axis=1)
        keys = np.broadcast_to(ids[start : start + BATCH], scores.shape)
        every = np.concatenate((nearest[1], keys), axis=1)
        order = np.argsort(-joined, axis=1)[:, :K]
        nearest = np.take_along_axis(joined, order, 1), np.take_along_axis(every, order, 1)
    for query in queries[:20]:
        store.search(query[None], K, allowed=allowed)
    durations, hits = [], 0
    for query, truth in zip(queries, nearest[1], strict=True):
        started = time.perf_counter()
        (found,) = store.search(query[None], K, allowed=allowed)
        durations.append((time.perf_counter() - started) * 1000)
        hits += int(np.isin(found.ids, truth).sum())
    return hits / nearest[1].size, median(durations), percentile(durations, 0.99)


def _fill(index: SpaceIndex) -> None:
    """From the database, until it answers by its own index."""
    from search.index import maintenance
    from search.index.local_index import LocalIndex

    index.tell()
    index.catch_up()
    _wait_until_built(index)
    if isinstance(index, LocalIndex):
        maintenance.compact(index, force=True, threads=2)
        maintenance.measure_recall(index)


def _wait_until_built(index: SpaceIndex) -> None:
    """Milvus builds its graphs after it was written into, and says how far it is."""
    from search.index.stores.remote.milvus import MilvusEngine, _client
    from search.index.stores.remote.store import RemoteStore

    for store in index.stores.values():
        if not isinstance(store, RemoteStore) or not isinstance(store.engine, MilvusEngine):
            continue
        client = _client(store.engine.address, os.getpid())
        while client.describe_index(store.engine.collection, "vector")["pending_index_rows"]:
            time.sleep(0.5)
        time.sleep(HANDING_OVER)


def _space(count: int) -> EmbeddingSpace:
    """A space with vectors in the database, made by the first that asks."""
    from django.core.management import call_command
    from django.db import connection

    from embeddings.models import EmbeddingSpace

    call_command("migrate", verbosity=0)
    space = EmbeddingSpace.objects.filter(model="benchmark").first()
    if space is not None:
        return space
    space = EmbeddingSpace.objects.create(
        fingerprint="benchmark", source="benchmark", model="benchmark", dimension=DIMENSION,
        modalities=["text"], log_start=1,
    )  # fmt: skip
    with connection.cursor() as cursor:
        # Its items are of no account here, and their rows would be most of the work.
        cursor.execute("ALTER TABLE embeddings_embedding DISABLE TRIGGER ALL")
        with cursor.copy(
            "COPY embeddings_embedding (space_id, item_id, modality, content_hash, vector)"
            " FROM STDIN"
        ) as copy:
            for ids, vectors in _batches(count):
                for item, vector in zip(ids, vectors.astype("<f2"), strict=True):
                    copy.write_row((space.pk, item, "text", "", vector.tobytes()))
        cursor.execute("ANALYZE embeddings_embedding")
    return space


def _batches(count: int, *, seed: int = 0) -> Iterator[tuple[list[int], Vectors]]:
    """Unit vectors around common centres; the same each time."""
    centres = np.random.default_rng(7).standard_normal((TOPICS, DIMENSION), dtype=np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    source = np.random.default_rng(seed)
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        vectors = source.standard_normal((size, DIMENSION), dtype=np.float32)
        vectors *= np.float32(SPREAD / np.sqrt(DIMENSION))
        vectors += centres[source.integers(TOPICS, size=size)]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        yield list(range(start + 1, start + size + 1)), vectors


if __name__ == "__main__":
    import django

    django.setup()
    print(json.dumps(measure(int(sys.argv[1]))))
