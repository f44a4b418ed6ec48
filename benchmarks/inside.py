"""Chapters of the report on the parts: the index, the stages of a search and of an ingestion."""

from __future__ import annotations

from typing import Any

from benchmarks.ingesting import SIZES
from benchmarks.markdown import table

Results = dict[str, Any]


def index(results: Results) -> str:
    rows = [
        (
            f"{row['vectors']:,}",
            row["index"],
            f"{row['build_s']:.1f} s",
            f"{row['bytes_per_vector']:.0f} B",
            f"{row['open_ms']:.0f} ms",
            f"{row['recall']:.4f}",
            f"{row['p50_ms']:.2f} ms",
            f"{row['p99_ms']:.2f} ms",
            f"{row['building_p50_ms']:.1f} ms" if row["building_p50_ms"] else "–",
        )
        for row in results["index"]
    ]
    heads = (
        "vectors",
        "index",
        "build",
        "memory/vector",
        "open",
        "recall@10",
        "P50",
        "P99",
        "P50 while building",
    )
    return f"""\
## Vector index

The index alone, one query at a time, 512 dimensions, clustered vectors such as CLIP makes
(`benchmarks/index.py`); the baseline's index is *naive*.

{table(heads, rows)}"""


def stages(results: Results) -> str:
    return "\n\n".join((_search_stages(results), _ingest_stages(results), _functions(results)))


def _search_stages(results: Results) -> str:
    timed = results["anatomy"]["search"]["stages"]
    served = next(row for row in results["search"]["ours"] if row["clients"] == 1)["p50"]
    parts = (
        ("text encoder, int8, one text", timed["encoder"]),
        ("vector index, both modalities", timed["index"]),
        (
            "rest of the search: log position, rows, tags",
            timed["search"] - timed["encoder"] - timed["index"],
        ),
        ("Django and REST framework", timed["wsgi"] - timed["search"]),
        ("HTTP server, sockets, hand-over between threads", max(served - timed["wsgi"], 0.0)),
    )
    rows = [(name, f"{value:.2f} ms", f"{value / served:.0%}") for name, value in parts]
    rows.append(("one client over HTTP, P50", f"{served:.2f} ms", "100 %"))
    return f"""\
## Bottlenecks: where the time goes

A search, stage by stage. Each stage was timed by itself in one thread over the same catalogue;
the last but one is what remains of the time over HTTP. The index holds what this run ingested
beside its snapshot and scans that part exactly until the next compaction.

{table(("stage", "time", "share"), rows)}"""


def _ingest_stages(results: Results) -> str:
    names = (
        ("full_decode", "for comparison: full decode"),
        ("door", "at the door: check, reduced decode, hash, preview"),
        ("read_preview", "worker: read the preview"),
        ("encode", "worker: resize, normalise, encode (both cores)"),
    )
    ingest = results["anatomy"]["ingest"]
    rows = [(name, *(f"{ingest[size][key]:.1f} ms" for size in SIZES)) for key, name in names]
    return f"""\
A picture on its way in, milliseconds of one thread (the encoder: of both cores).

{table(("stage", *SIZES.values()), rows)}"""


def _functions(results: Results) -> str:
    rows = [
        (f"`{row['function']}`", f"{row['ms']:.3f} ms", f"{row['calls']:.1f}")
        for row in results["anatomy"]["search"]["functions"]
    ]
    return f"""\
The busiest functions of a search by their own time (cProfile, which itself slows Python down; the
encoder's wait is `InferenceSession.run`).

{table(("function", "own time a search", "calls"), rows)}"""
