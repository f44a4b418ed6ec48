"""The vector stores beside each other: what they take to fill, and how they answer.

    python -m benchmarks stores [--vectors N]

Starts PostgreSQL and Milvus from the packages of requirements-scale-dev.txt, puts N vectors of 512
dimensions into the database, in clusters as a catalogue's are, and starts the application over it
with one store after the other: its worker fills each by itself. Searches go through the contract
that `/search_text/` uses, one at a time: what is found is compared with the nearest of all. Prints
a table.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks.bare import K, timed
from benchmarks.figures import describe, table
from benchmarks.processes import apart, family, memory_mb
from benchmarks.servers import BenchmarkError, Ours

if TYPE_CHECKING:
    from search.index.space_index import SpaceIndex
    from search.index.stores.base import Vectors

SPACE: Final = "benchmark"
DIMENSION: Final = 512
TOPICS: Final = 2_000
SPREAD: Final = 0.8
"""Length of the noise around a topic's centre, whose length is 1."""
QUERIES: Final = 200
SHARE: Final = 0.01
"""Of the items that the filter allows."""
BATCH: Final = 10_000
LEAST: Final = 20_000
"""Vectors; of fewer no snapshot is written."""
PATIENCE: Final = 3600.0
"""Seconds within which a store is to be filled."""
POLL: Final = 0.2
HANDING_OVER: Final = 10.0
"""Seconds until Milvus searches what it has built."""
COLUMNS: Final = {
    "load_s": "filled in s",
    "rate": "vectors/s",
    "recall": "recall@10",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "recall_filtered": "recall@10, 1 % allowed",
    "p50_filtered_ms": "p50 ms, 1 % allowed",
    "memory_mb": "memory MB",
}
COPY: Final = (
    "COPY embeddings_embedding (space_id, item_id, modality, content_hash, vector) FROM STDIN"
)


def run_stores(*, vectors: int, say: Callable[[str], None]) -> None:
    """Measure every store and tell the table."""
    from tests.servers import Milvus, PostgreSQL  # packages of their own

    if vectors < LEAST:
        raise BenchmarkError(f"At least {LEAST:,} vectors: fewer are searched one by one.")
    rows = []
    with PostgreSQL() as postgresql, Milvus() as milvus, tempfile.TemporaryDirectory() as data:
        servers = {"faiss": None, "pgvector": postgresql.pid, milvus.url: milvus.pid}
        settings = {
            "DJANGO_SETTINGS_MODULE": "mmsearch_project.settings",
            "MMSEARCH_DATA_DIR": data,
            "MMSEARCH_DATABASE_URL": postgresql.url,
        }
        apart(_prepare, settings, vectors)
        for store, pid in servers.items():
            name = store.partition("://")[0]
            say(f"{name}: {vectors:,} vectors")
            settings["MMSEARCH_VECTOR_STORE"] = store
            began = time.time()
            with Ours(Path(data), MMSEARCH_SWITCH="manual", **settings) as ours:
                ours.start()
                row = apart(figures, settings, vectors, began)
            if pid is not None:
                row["memory_mb"] = memory_mb(family(pid))
            say(json.dumps({"store": name, **row}))
            rows.append([name, *(_cell(row[column]) for column in COLUMNS)])
    say(f"{vectors:,} vectors, {describe()['processor']}\n")
    say(table(["", *COLUMNS.values()], rows))


def _cell(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def figures(settings: Mapping[str, str], count: int, began: float) -> dict[str, float]:
    """One store's figures; in a process of its own, which `settings` configure.

    Its application has been starting since `began`, and fills it.
    """
    _set_up(settings)
    from embeddings.models import EmbeddingSpace
    from search.index.space_index import index_of
    from search.index.stores.base import Ids, IdSet

    index = index_of(EmbeddingSpace.objects.get(model=SPACE))
    _wait_until_filled(index)
    took = time.time() - began
    (store,) = index.stores.values()
    ids = np.arange(1, count + 1)
    vectors = np.concatenate(list(_batches(count)))
    queries = next(_batches(QUERIES, seed=1))
    allowed = np.sort(np.random.default_rng(2).choice(count, int(count * SHARE), replace=False))

    def ask(some: Any, only: IdSet | None) -> dict[str, float]:
        def search(query: Vectors) -> Ids:
            return store.search(query, K, allowed=only)[0].ids

        for query in queries[:20]:
            search(query[None])
        return timed(search, queries, ids[some], vectors[some])

    within = ask(allowed, IdSet(ids[allowed]))
    return {
        "load_s": took,
        "rate": count / took,
        **ask(slice(None), None),
        "recall_filtered": within["recall"],
        "p50_filtered_ms": within["p50_ms"],
        "memory_mb": store.stats().bytes_per_vector * count / 2**20,
    }


def _wait_until_filled(index: SpaceIndex) -> None:
    """Wait for the snapshot of an index in files, or until the store on a server answers."""
    from search.index.space_index import space_directory
    from search.index.stores.faiss.snapshot import MANIFEST
    from search.index.stores.remote.engine import StoreUnavailable

    def answers() -> bool:
        folders = [space_directory(index.space) / modality.value for modality in index.replicas]
        if not all((folder / MANIFEST).exists() for folder in folders):
            return False
        try:
            index.sync()
        except StoreUnavailable:  # it is being filled
            return False
        return True

    deadline = time.monotonic() + PATIENCE
    while not answers():
        if time.monotonic() > deadline:
            raise BenchmarkError(f"Not filled after {PATIENCE:,.0f} s: see the application's log.")
        time.sleep(POLL)
    _wait_until_built(index)


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


def _set_up(settings: Mapping[str, str]) -> None:
    os.environ.update(settings)
    import django

    django.setup()


def _prepare(settings: Mapping[str, str], count: int) -> None:
    """A space with vectors in the database."""
    _set_up(settings)
    from django.core.management import call_command
    from django.db import connection

    from embeddings.models import EmbeddingSpace

    call_command("migrate", verbosity=0)
    space = EmbeddingSpace.objects.create(
        model=SPACE,
        fingerprint=SPACE,
        source=SPACE,
        dimension=DIMENSION,
        modalities=["text"],
        log_start=1,
    )
    with connection.cursor() as cursor:
        # Its items are of no account here, and their rows would be most of the work.
        cursor.execute("ALTER TABLE embeddings_embedding DISABLE TRIGGER ALL")
        with cursor.copy(COPY) as copy:
            vectors = (vector for batch in _batches(count) for vector in batch.astype("<f2"))
            for item, vector in enumerate(vectors, 1):
                copy.write_row((space.pk, item, "text", "", vector.tobytes()))
        cursor.execute("ANALYZE embeddings_embedding")


def _batches(count: int, *, seed: int = 0) -> Iterator[Vectors]:
    """Unit vectors around common centres; the same each time."""
    from embeddings.encoders.base import unit

    centres = unit(np.random.default_rng(7).standard_normal((TOPICS, DIMENSION), dtype=np.float32))
    source = np.random.default_rng(seed)
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        vectors = source.standard_normal((size, DIMENSION), dtype=np.float32)
        vectors *= np.float32(SPREAD / np.sqrt(DIMENSION))
        yield unit(vectors + centres[source.integers(TOPICS, size=size)])
