"""What the engines take alone: encoders by batch size, indexes over a catalogue's vectors.

Run each `apart`, where nothing else runs. Texts differ in every batch; pictures are decoded
beforehand, and resized and normalised within the measured time.
"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice, repeat
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
from PIL import Image

from benchmarks.figures import percentile
from benchmarks.full_size import PREPARED
from benchmarks.material import captions, ensure_pictures
from benchmarks.servers import database_rows
from embeddings.encoders.base import Modality, Vectors, unit
from search.index.stores.base import Ids, IdSet

BATCH_SIZES: Final = (1, 8, 32)
FEWEST: Final = 3
"""Batches a figure, at least."""
K: Final = 10
QUERIES: Final = 300
SHARES: Final = (0.0001, 0.01, 0.1, 0.5)
"""Of the ids, that a filter allows."""
STORED: Final = (
    "SELECT item_id, vector FROM embeddings_embedding WHERE modality = 'text' AND space_id ="
    " (SELECT id FROM embeddings_embeddingspace WHERE state = 'active') ORDER BY item_id"
)
Row = dict[str, Any]


def encoder_rows(name: str, model: str, seconds: float) -> list[Row]:
    """A row a modality and batch size: median milliseconds of a batch."""
    texts, images = _encoders(name, model)
    words = captions(seed=7)
    pictures = [Image.open(io.BytesIO(data)).convert("RGB") for data in ensure_pictures()["small"]]
    rows = []
    for size in BATCH_SIZES:
        of_words = (list(islice(words, size)) for _ in repeat(None))
        row = {"modality": "text", "batch": size, "ms": _milliseconds(texts, of_words, seconds)}
        of_pictures = repeat((pictures * size)[:size])
        milliseconds = _milliseconds(images, of_pictures, seconds)
        rows += [row, {"modality": "image", "batch": size, "ms": milliseconds}]
    return rows


def _milliseconds(encode: Callable[[Any], object], batches: Iterator[Any], least: float) -> float:
    """Median of a batch, over at `least` so many seconds; the first does not count."""
    encode(next(batches))
    durations: list[float] = []
    began = time.perf_counter()
    while len(durations) < FEWEST or time.perf_counter() - began < least:
        batch = next(batches)
        started = time.perf_counter()
        encode(batch)
        durations.append(time.perf_counter() - started)
    return median(durations) * 1000


def _encoders(name: str, model: str) -> tuple[Callable[[Any], object], Callable[[Any], object]]:
    """Functions that encode texts and pictures."""
    if name == "baseline":
        from benchmarks.baseline import Embedder

        baseline = Embedder(model)
        return baseline.texts, baseline.images
    from embeddings.encoders.serving.prepared_encoder import PreparedEncoder

    ours = PreparedEncoder(model, PREPARED)
    return partial(ours.encode, Modality.TEXT), partial(ours.encode, Modality.IMAGE)


def index_rows(database_url: str) -> list[Row]:
    """The naive index and ours over a catalogue's text vectors, one query at a time."""
    import faiss

    from search.index.stores.faiss.store import FaissStore

    found = database_rows(database_url, STORED)
    ids = np.array([item for item, _ in found], np.int64)
    stored = np.frombuffer(b"".join(vector for _, vector in found), "<f2")
    vectors = stored.reshape(len(ids), -1).astype(np.float32)
    dimension = vectors.shape[1]
    source = np.random.default_rng(0)
    noise = source.standard_normal((QUERIES, dimension), dtype=np.float32)
    chosen = vectors[source.choice(len(ids), QUERIES)]
    queries = unit(chosen + noise * np.float32(0.5 / np.sqrt(dimension)))
    naive: Any = faiss.IndexFlatL2(dimension)
    naive.add(vectors)
    flat = timed(lambda query: ids[naive.search(query, K)[1][0]], queries, ids, vectors)
    flat |= {"recall": 1.0, "build_s": 0.0, "bytes": 4.0 * dimension}  # exact in its own measure
    rows: list[Row] = [{"index": "naive: IndexFlatL2", **flat}]
    with tempfile.TemporaryDirectory() as folder:
        store = FaissStore(dimension, Path(folder), key="bare", memory_mb=None)

        def add(name: str, some: Any, allowed: IdSet | None, built: float, size: float) -> None:
            def search(query: Vectors) -> Ids:
                return store.search(query, K, allowed=allowed)[0].ids

            figures = timed(search, queries, ids[some], vectors[some])
            rows.append({"index": name, **figures, "build_s": built, "bytes": size})

        store.upsert(ids, vectors)
        store.commit(1)
        started = time.perf_counter()
        store.compact(threads=2)
        built = time.perf_counter() - started
        store.tune(queries[: QUERIES // 2], k=K)
        stats = store.stats()
        add(f"ours: {stats.kind}", slice(None), None, built, stats.bytes_per_vector)
        for share in SHARES:
            count = max(K, round(share * len(ids)))
            some = np.sort(np.random.default_rng(1).choice(len(ids), count, replace=False))
            add(f"ours, {share:.2%} allowed", some, IdSet(ids[some]), 0.0, 0.0)
    return [{"vectors": len(ids), **row} for row in rows]


def timed(
    search: Callable[[Vectors], Ids], queries: Vectors, ids: Ids, vectors: Vectors
) -> dict[str, float]:
    """Milliseconds of one query at a time, and the share found of the exact nearest `vectors`."""
    import faiss

    _, nearest = faiss.knn(queries, vectors, K, metric=faiss.METRIC_INNER_PRODUCT)
    durations, hits = [], 0
    for query, truth in zip(queries, ids[nearest], strict=True):
        started = time.perf_counter()
        found = search(query[None])
        durations.append((time.perf_counter() - started) * 1000)
        hits += int(np.isin(truth, found).sum())
    return {
        "p50_ms": median(durations),
        "p99_ms": percentile(durations, 0.99),
        "recall": hits / nearest.size,
    }
