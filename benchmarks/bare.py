"""What the engines take alone: encoders by batch size, indexes over a catalogue's vectors.

    python -m benchmarks.bare encoder ours|baseline MODEL SECONDS
    python -m benchmarks.bare index DATABASE

Prints JSON. Nothing else runs in the process. Texts differ in every batch; pictures are decoded
beforehand, and resized and normalised within the measured time.
"""

from __future__ import annotations

import io
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
from PIL import Image

from benchmarks.load import percentile
from benchmarks.material import PREPARED, captions, ensure_pictures
from embeddings.encoders.base import Modality, Vectors, unit
from search.index.stores.base import Ids, IdSet
from search.index.stores.faiss.store import FaissStore

BATCH_SIZES: Final = (1, 8, 32)
FEWEST: Final = 3
"""Batches a figure, at least."""
K: Final = 10
QUERIES: Final = 300
SHARES: Final = (0.0001, 0.01, 0.1, 0.5)
"""Of the ids, that a filter allows."""


def encoder(name: str, model: Path, seconds: float) -> list[dict[str, Any]]:
    """A row a modality and batch size: median milliseconds of a batch."""
    encode_texts, encode_images = _encoders(name, model)
    words = captions(seed=7)
    pictures = [Image.open(io.BytesIO(data)).convert("RGB") for data in ensure_pictures()["small"]]
    rows = []
    for size in BATCH_SIZES:
        texts = iter(lambda: list(islice(words, size)), None)  # noqa: B023  used at once
        repeated = (pictures * size)[:size]
        images = iter(lambda: repeated, None)  # noqa: B023
        for modality, encode, batches in (
            ("text", encode_texts, texts),
            ("image", encode_images, images),
        ):
            milliseconds = _timed(encode, batches, seconds)
            rows.append({"modality": modality, "batch": size, "ms": milliseconds})
    return rows


def _timed(encode: Callable[[Any], object], batches: Iterator[Any], seconds: float) -> float:
    """Median milliseconds of a batch; the first does not count."""
    encode(next(batches))
    durations: list[float] = []
    began = time.perf_counter()
    while len(durations) < FEWEST or time.perf_counter() - began < seconds:
        batch = next(batches)
        started = time.perf_counter()
        encode(batch)
        durations.append(time.perf_counter() - started)
    return median(durations) * 1000


def _encoders(name: str, model: Path) -> tuple[Callable[[Any], object], Callable[[Any], object]]:
    """Functions that encode texts and pictures."""
    if name == "baseline":
        from benchmarks.baseline import EmbeddingService

        service = EmbeddingService(model)
        return service.embed_texts, service.embed_images
    from embeddings.encoders.serving.prepared_encoder import PreparedEncoder

    ours = PreparedEncoder(str(model), PREPARED)
    return partial(ours.encode, Modality.TEXT), partial(ours.encode, Modality.IMAGE)


def index(database: Path) -> list[dict[str, Any]]:
    """The naive index and ours over a catalogue's text vectors, one query at a time."""
    import faiss

    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    found = connection.execute(
        "SELECT item_id, vector FROM embeddings_embedding WHERE modality = 'text' AND space_id ="
        " (SELECT id FROM embeddings_embeddingspace WHERE state = 'active') ORDER BY item_id"
    ).fetchall()
    connection.close()
    ids = np.array([item for item, _ in found], np.int64)
    joined = b"".join(vector for _, vector in found)
    vectors = np.frombuffer(joined, "<f2").reshape(len(ids), -1).astype(np.float32)
    source = np.random.default_rng(0)
    noise = source.standard_normal((QUERIES, vectors.shape[1]), dtype=np.float32)
    chosen = vectors[source.choice(len(ids), QUERIES)]
    queries = unit(chosen + noise * np.float32(0.5 / np.sqrt(vectors.shape[1])))
    naive: Any = faiss.IndexFlatL2(vectors.shape[1])
    naive.add(vectors)
    nearest = np.argsort(-(queries @ vectors.T), axis=1)[:, :K]
    with tempfile.TemporaryDirectory() as folder:
        store = FaissStore(vectors.shape[1], Path(folder), key="bare", memory_mb=None)
        store.upsert(ids, vectors)
        store.commit(1)
        started = time.perf_counter()
        store.compact(threads=2)
        built = time.perf_counter() - started
        store.tune(queries[: QUERIES // 2], k=K)
        stats = store.stats()
        answers = [store.search(query[None], K)[0].ids for query in queries]
        hits = sum(np.isin(ids[truth], a).sum() for truth, a in zip(nearest, answers, strict=True))
        rows = [
            _index_row("naive: IndexFlatL2", lambda query: naive.search(query, K), queries),
            _index_row(f"ours: {stats.kind}", lambda query: store.search(query, K), queries),
        ]
        within = [_within(store, share, ids, vectors, queries) for share in SHARES]
    rows[0] |= {"recall": 1.0, "build_s": 0.0, "bytes": 4.0 * vectors.shape[1]}
    rows[1] |= {
        "recall": float(hits) / nearest.size,
        "build_s": built,
        "bytes": stats.bytes_per_vector,
    }
    return [{"vectors": len(ids), **row} for row in (*rows, *within)]


def _within(
    store: FaissStore, share: float, ids: Ids, vectors: Vectors, queries: Vectors
) -> dict[str, Any]:
    """The same store where only a random `share` of the ids is allowed."""
    source = np.random.default_rng(1)
    chosen = np.sort(source.choice(len(ids), max(K, round(share * len(ids))), replace=False))
    allowed = IdSet(ids[chosen])
    nearest = ids[chosen][np.argsort(-(queries @ vectors[chosen].T), axis=1)[:, :K]]
    answers = [store.search(query[None], K, allowed=allowed)[0].ids for query in queries]
    hits = sum(np.isin(truth, a).sum() for truth, a in zip(nearest, answers, strict=True))
    name = f"ours, {share:.2%} allowed"
    row = _index_row(name, lambda query: store.search(query, K, allowed=allowed), queries)
    return row | {"recall": float(hits) / nearest.size, "build_s": 0.0, "bytes": 0.0}


def _index_row(name: str, search: Callable[[Vectors], object], queries: Vectors) -> dict[str, Any]:
    durations = []
    for query in queries:
        started = time.perf_counter()
        search(query[None])
        durations.append(time.perf_counter() - started)
    return {
        "index": name,
        "p50_ms": median(durations) * 1000,
        "p99_ms": percentile(durations, 0.99) * 1000,
    }


def main() -> None:
    what, *words = sys.argv[1:]
    rows = (
        index(Path(words[0]))
        if what == "index"
        else encoder(words[0], Path(words[1]), float(words[2]))
    )
    json.dump(rows, sys.stdout)


if __name__ == "__main__":
    main()
