"""The vector index beside the naive one: build, size, opening, recall and latency.

    python -m benchmarks.index [--vectors 10000 100000] [--million]

Both see the same vectors and queries in the same run. The naive design is one IndexFlatL2. Ours
is the FAISS store as it ships, compacted, opened from its snapshot and tuned on queries other
than those measured; once with memory to spare and once under a budget that rules the graph out.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import faiss as untyped_faiss
import numpy as np

from benchmarks.latency import median, percentile
from search.index.stores.base import Ids, Vectors
from search.index.stores.faiss.store import FaissStore

faiss: Any = untyped_faiss  # its own stubs are incomplete

DIMENSION: Final = 512
K: Final = 10
QUERIES: Final = 300
"""Queries whose answers are checked; their latency is taken over SEARCHES repetitions."""
SEARCHES: Final = 1500
NAIVE_SEARCHES: Final = 60
CHUNK: Final = 20_000
BUDGET_BYTES: Final = 160
"""Bytes a vector of the second store's memory budget."""


@dataclasses.dataclass(frozen=True)
class IndexRow:
    """One index over one number of vectors."""

    vectors: int
    index: str
    build_s: float
    disk_mb: float
    bytes_per_vector: float
    """In memory, index and ids; the float16 file that ours re-ranks from is not counted."""
    open_ms: float
    """Until the first search can be asked; files in the page cache."""
    recall: float
    """Recall@10 against exact search, one query at a time, re-ranking included."""
    p50_ms: float
    p99_ms: float
    building_p50_ms: float
    """Median search of the same vectors while the index is being built; 0 where none can be."""
    effort: int
    """efSearch or nprobe after tuning."""


class Corpus:
    """Unit vectors such as CLIP gives a catalogue; the same for the same seed.

    A vector is a direction common to all (CLIP's vectors lie in a cone: two unrelated ones have a
    cosine of about 0.4 here), a topic's centre, and the item's own deviation from it, 0.7 times
    as large. Topics are of very unequal size (a power law). Variance falls with the inverse
    of the axis' rank, as principal components of real embeddings do, in a rotated basis. Gaussian
    noise would have no neighbours worth finding, and tight clusters none to confuse.
    """

    def __init__(self, *, dimension: int = DIMENSION, topics: int = 2000, seed: int = 0) -> None:
        source = np.random.default_rng(seed)
        axes = (1.0 + np.arange(dimension)) ** -0.5
        self._axes = (axes / np.linalg.norm(axes)).astype(np.float32)
        self._rotation = np.linalg.qr(source.standard_normal((dimension, dimension)))[0]
        self._rotation = self._rotation.astype(np.float32)
        centres = source.standard_normal((topics, dimension), dtype=np.float32) * self._axes
        cone = source.standard_normal(dimension, dtype=np.float32)
        self._centres = centres + cone / np.linalg.norm(cone)
        sizes = 1.0 / (10.0 + np.arange(topics)) ** 0.7
        self._shares = sizes / sizes.sum()

    def draw(self, count: int, *, seed: int) -> Vectors:
        """Float32 (count, dimension), L2-normalised."""
        source = np.random.default_rng((seed, count))
        topics = source.choice(len(self._shares), count, p=self._shares)
        vectors = source.standard_normal((count, self._axes.size), dtype=np.float32)
        vectors *= 0.7 * self._axes
        vectors += self._centres[topics]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors @ self._rotation, dtype=np.float32)

    def chunks(self, count: int) -> Iterator[tuple[Ids, Vectors]]:
        """The catalogue of `count` items in parts: ids from 1, as float16 keeps them."""
        for start in range(0, count, CHUNK):
            size = min(CHUNK, count - start)
            vectors = self.draw(size, seed=start + 1).astype(np.float16).astype(np.float32)
            yield np.arange(start + 1, start + size + 1), vectors


def measure_index(count: int, folder: Path) -> list[IndexRow]:
    """Rows for `count` vectors: the naive index, ours, and ours under a memory budget."""
    corpus = Corpus()
    trial = Trial(corpus, count, queries=corpus.draw(QUERIES, seed=2**31))
    rows = [trial.naive(), trial.store(folder / "free", memory_mb=None)]
    if rows[-1].index == "ours: hnsw":
        rows.append(trial.store(folder / "tight", memory_mb=count * BUDGET_BYTES / 2**20))
    return rows


class Trial:
    """Indexes over the same vectors, asked the same queries."""

    def __init__(self, corpus: Corpus, count: int, *, queries: Vectors) -> None:
        self._corpus = corpus
        self._count = count
        self._queries = queries
        self._truth = np.empty((0, K), np.int64)

    def naive(self) -> IndexRow:
        """IndexFlatL2 with FAISS's own number of threads.

        The truth that all are held to is the largest inner products of its vectors: float16 makes
        unit vectors only nearly so, and its distances order a few close neighbours otherwise.
        """
        index, build = faiss.IndexFlatL2(DIMENSION), 0.0
        for _, vectors in self._corpus.chunks(self._count):
            started = time.perf_counter()
            index.add(vectors)
            build += time.perf_counter() - started
        with tempfile.NamedTemporaryFile() as file:
            faiss.write_index(index, file.name)
            size = Path(file.name).stat().st_size
            started = time.perf_counter()
            faiss.read_index(file.name)
            opening = time.perf_counter() - started
        durations = _durations(lambda query: index.search(query, K), self._queries, NAIVE_SEARCHES)
        stored = faiss.rev_swig_ptr(index.get_xb(), index.ntotal * DIMENSION)
        products = faiss.METRIC_INNER_PRODUCT
        _, self._truth = faiss.knn(self._queries, stored.reshape(-1, DIMENSION), K, products)
        return IndexRow(
            vectors=self._count,
            index="naive: IndexFlatL2",
            build_s=build,
            disk_mb=size / 1e6,
            bytes_per_vector=size / self._count,
            open_ms=opening * 1000,
            recall=self._recall(index.search(self._queries, K)[1]),
            p50_ms=median(durations) * 1000,
            p99_ms=percentile(durations, 0.99) * 1000,
            building_p50_ms=0.0,
            effort=0,
        )

    def store(self, directory: Path, *, memory_mb: float | None) -> IndexRow:
        """Ours: filled, searched while it compacts, opened anew, tuned, measured."""
        store = _store(directory, memory_mb)
        for ids, vectors in self._corpus.chunks(self._count):
            store.upsert(ids, vectors)
        store.commit(1)
        build, while_building = _compact_under_search(store, self._queries)
        del store
        started = time.perf_counter()
        opened = _store(directory, memory_mb)
        position = opened.refresh()
        if position is None:
            raise RuntimeError(f"The snapshot in {directory} was refused: see the log.")
        opened.commit(position)
        opening = time.perf_counter() - started
        opened.tune(self._corpus.draw(200, seed=2**31 + 1), k=K)
        durations = _durations(lambda query: opened.search(query, K), self._queries, SEARCHES)
        answers = [opened.search(query[None], K)[0] for query in self._queries]
        stats = opened.stats()
        row = IndexRow(
            vectors=self._count,
            index=f"ours: {stats.kind}",
            build_s=build,
            disk_mb=sum(path.stat().st_size for path in directory.rglob("*.*")) / 1e6,
            bytes_per_vector=stats.bytes_per_vector,
            open_ms=opening * 1000,
            recall=self._recall([match.ids - 1 for match in answers]),
            p50_ms=median(durations) * 1000,
            p99_ms=percentile(durations, 0.99) * 1000,
            building_p50_ms=median(while_building) * 1000,
            effort=stats.effort,
        )
        shutil.rmtree(directory)
        return row

    def _recall(self, answers: Iterable[Ids]) -> float:
        """Share of the true rows among those answered, row 0 being id 1."""
        pairs = zip(answers, self._truth, strict=True)
        found = [np.intersect1d(rows, truth).size for rows, truth in pairs]
        return sum(found) / self._truth.size


def _store(directory: Path, memory_mb: float | None) -> FaissStore:
    return FaissStore(DIMENSION, directory, key="benchmark", memory_mb=memory_mb)


def _compact_under_search(store: FaissStore, queries: Vectors) -> tuple[float, list[float]]:
    """Seconds that compacting took, and those of single searches meanwhile.

    Searches take a twentieth of the time, so that the build is hardly slowed by being watched.
    """
    builder = threading.Thread(target=store.compact, kwargs={"threads": 2})
    started = time.perf_counter()
    builder.start()
    durations: list[float] = []
    while builder.is_alive() or not durations:
        asked = time.perf_counter()
        store.search(queries[len(durations) % QUERIES][None], K)
        durations.append(time.perf_counter() - asked)
        builder.join(20 * durations[-1])
    return time.perf_counter() - started, durations


def _durations(
    search: Callable[[Vectors], object], queries: Vectors, repetitions: int
) -> list[float]:
    """Seconds of single queries, asked one after the other; as many again first, to warm up."""
    durations = []
    for number in range(-min(repetitions, len(queries)), repetitions):
        query = queries[number % len(queries)][None]
        started = time.perf_counter()
        search(query)
        if number >= 0:
            durations.append(time.perf_counter() - started)
    return durations


def table(rows: Sequence[IndexRow]) -> str:
    """The rows as a Markdown table."""
    head = (
        "| vectors | index | build | on disk | memory/vector | open | recall@10 | p50 | p99 "
        "| p50 while building | effort |"
    )
    lines = [head, "|" + " --- |" * 11]
    lines += [
        f"| {row.vectors:,} | {row.index} | {row.build_s:.1f} s | {row.disk_mb:,.0f} MB "
        f"| {row.bytes_per_vector:.0f} B | {row.open_ms:.0f} ms | {row.recall:.4f} "
        f"| {row.p50_ms:.2f} ms | {row.p99_ms:.2f} ms | {row.building_p50_ms:.1f} ms "
        f"| {row.effort} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--million", action="store_true", help="1,000,000 too: a quarter hour")
    parser.add_argument("--json", type=Path, help="write the rows there too")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    sizes = [*options.vectors, *([1_000_000] if options.million else [])]
    rows: list[IndexRow] = []
    with tempfile.TemporaryDirectory() as folder:
        for count in sizes:
            rows += measure_index(count, Path(folder))
            print(table(rows), flush=True)
    if options.json:
        values = [dataclasses.asdict(row) for row in rows]
        options.json.write_text(json.dumps(values, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
