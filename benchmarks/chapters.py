"""Chapters of the report on what the two systems do under load."""

from __future__ import annotations

from typing import Any, Final

from benchmarks.ingesting import SIZES
from benchmarks.markdown import PLOTS, SYSTEMS, table
from benchmarks.plots import number

INGEST_BATCH: Final = 16
"""Pictures a forward pass of the baseline's batch script; its module imports torch."""
Results = dict[str, Any]


def ingestion(results: Results) -> str:
    rows = [
        (
            f"{SIZES[row['size']]}, {row['way']}",
            f"{number(row['ours']['rate'])} /s",
            f"{number(row['baseline']['rate'])} /s",
            f"{row['ours']['rate'] / row['baseline']['rate']:.1f}×",
            f"{number(row['bare'])} /s",
            f"{row['ours']['rate'] / row['bare']:.0%}",
        )
        for row in results["ingestion"]
    ]
    heads = ("pictures", "ours", "baseline", "ratio", "bare int8 encoder", "ours of it")
    return f"""\
## Ingestion throughput

Pictures a second, from the moment the first arrives until the last one's vector is committed.
*Batch* is `ingest_dataset` over a folder beside the running worker (the baseline's batch script,
{INGEST_BATCH} pictures a forward pass); *stream* is `POST /ingest_stream/` from 4 clients. The
pictures have a photograph's frequencies and grain; no two files are equal. The *bare int8 encoder*
is ours over pictures already decoded, alone in a process, measured between the rounds.

{table(heads, rows)}

![Ingestion]({PLOTS}/ingestion.svg)"""


def encoders(results: Results) -> str:
    measured = results["encoders"]
    rows = []
    for modality in ("text", "image"):
        for position, base in enumerate(measured["baseline"]):
            if base["modality"] != modality:
                continue
            int8 = measured["ours-int8"][position]
            fp32 = measured.get("ours-fp32", [])
            rows.append(
                (
                    f"{modality}, batch {base['batch']}",
                    f"{number(int8['ms'])} ms",
                    f"{number(fp32[position]['ms'])} ms" if fp32 else "–",
                    f"{number(base['ms'])} ms",
                    f"{base['ms'] / int8['ms']:.1f}×",
                    f"{number(int8['batch'] * 1000 / int8['ms'])} /s",
                    f"{number(base['batch'] * 1000 / base['ms'])} /s",
                )
            )
    heads = ("input", "ours, int8", "ours, fp32", "baseline", "ratio (int8)", "ours", "baseline")
    return f"""\
## Embedding latency and throughput

The encoders alone, a process each, resizing and tokenising included: milliseconds a batch, and
vectors a second (of int8 for ours). Texts have 11 to 22 tokens, pictures 512 × 384 pixels.

{table(heads, rows)}

![Encoders]({PLOTS}/encoders.svg)"""


def search(results: Results) -> str:
    rows = []
    for ours, base in zip(*(results["search"][name] for name in SYSTEMS), strict=True):
        for key, name in (("p50", "P50"), ("p90", "P90"), ("p99", "P99")):
            rows.append(
                (
                    f"{ours['clients']} clients, {name}",
                    f"{number(ours[key])} ms",
                    f"{number(base[key])} ms",
                    f"{base[key] / ours[key]:.1f}×",
                )
            )
        rows.append(
            (
                f"{ours['clients']} clients, queries a second",
                f"{number(ours['rate'])}",
                f"{number(base['rate'])}",
                f"{ours['rate'] / base['rate']:.1f}×",
            )
        )
    cached = results["cached"]
    return f"""\
## Search latency and throughput

`POST /search_text/` over loopback HTTP with kept connections; each client asks again when it has
its answer, and no text is asked twice.

{table(("load", "ours", "baseline", "ratio"), rows)}

Texts asked again, whose vectors ours remembers: P50 {number(cached["p50"])} ms,
P99 {number(cached["p99"])} ms, {number(cached["rate"])} queries a second from one client.

![Latency]({PLOTS}/latency.svg)

![Rate]({PLOTS}/rate.svg)"""


def resources(results: Results) -> str:
    loads = [
        (f"search, {ours['clients']} clients", ours, base)
        for ours, base in zip(*(results["search"][name] for name in SYSTEMS), strict=True)
    ]
    loads += [
        (f"{SIZES[row['size']]}, {row['way']}", row["ours"], row["baseline"])
        for row in results["ingestion"]
    ]
    rows = [
        (
            name,
            f"{ours['cpu']:.0f} %",
            f"{base['cpu']:.0f} %",
            f"{ours['memory_mb']:,.0f} MB",
            f"{base['memory_mb']:,.0f} MB",
            f"{ours['memory_mb'] / base['memory_mb']:.2f}×",
        )
        for name, ours, base in loads
    ]
    heads = (
        "load",
        "processor, ours",
        "baseline",
        "memory, ours",
        "baseline",
        "ratio (memory)",
    )
    return f"""\
## Processor and memory under load

Of the servers' processes (ours: supervisor, web server, worker; the reading command of a batch is
not counted, nor is the baseline's batch script). 100 % is one core. Memory is proportional (PSS)
at the end of a round: shared pages are divided among their users. No part of either system uses a
GPU here.

{table(heads, rows)}"""


def operation(results: Results) -> str:
    start, beside, fresh = results["start"], results["beside"], results["fresh"]
    rows = [
        (
            "start until searches are answered",
            f"{start['ours']:.1f} s",
            f"baseline {start['baseline']:.1f} s",
        ),
        *(
            (
                f"search {name} while ingesting",
                f"{number(beside['busy'][key])} ms",
                f"idle {number(beside['idle'][key])} ms, {_ratio(beside, key):.2f}×",
            )
            for key, name in (("p50", "P50"), ("p99", "P99"))
        ),
        (
            "commit of a vector → its item found over HTTP",
            f"{fresh['median'] * 1000:.0f} ms",
            f"worst {fresh['worst'] * 1000:.0f} ms",
        ),
        ("upload → its item found over HTTP", f"{fresh['from_upload'] * 1000:.0f} ms", ""),
    ]
    rows += [
        (
            f"memory after {step['items']:,} embedded pictures",
            f"worker {step['worker_mb']:,.0f} MB",
            f"web server {step['web_mb']:,.0f} MB",
        )
        for step in results.get("memory", {}).get("steps", ())
    ]
    if first := results.get("first"):
        rows.append(
            (
                "empty folder, `make run` → first search result",
                f"{first['first_result']:.1f} s",
                f"ready after {first['ready']:.1f} s",
            )
        )
    return f"""\
## In operation

{table(("what", "ours", "beside it"), rows)}"""


def _ratio(beside: Results, key: str) -> float:
    """How much slower a search is beside ingestion."""
    return float(beside["busy"][key] / beside["idle"][key])
