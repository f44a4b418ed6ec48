"""From results to docs/PERFORMANCE_REPORT.md and its plots."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.plots import bars, number
from benchmarks.stock import SIZES
from benchmarks.targets import SYSTEMS, Results, targets

REPORT: Final = "PERFORMANCE_REPORT.md"
PLOTS: Final = "performance"
"""Folder of plots and results beside the report."""
DISCUSSION: Final = Path(__file__).with_name("discussion.md")


def write_report(results: Results, directory: Path) -> Path:
    """Write the report, its plots and the results into `directory`; returns the report's path."""
    folder = directory / PLOTS
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1, ensure_ascii=False)
    (folder / "results.json").write_text(f"{text}\n", encoding="utf-8")
    for name, plot in charts(results).items():
        (folder / f"{name}.svg").write_text(plot, encoding="utf-8")
    report = directory / REPORT
    report.write_text(render(results), encoding="utf-8")
    return report


def read_results(directory: Path) -> Results:
    """The results that the last report in `directory` was written from."""
    results: Results = json.loads((directory / PLOTS / "results.json").read_text(encoding="utf-8"))
    return results


def render(results: Results) -> str:
    """The report as Markdown."""
    marks = {True: "yes", False: "**no**", None: "–"}
    judged = [(*target[:3], marks[target[3]]) for target in targets(results)]
    run = results["run"]
    plan = run["plan"]
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    kind = "quick run: rough" if plan["quick"] else "full run"
    flags = ", ".join(run["flags"])
    sections = [
        f"""\
# Performance report

Written by `make benchmark` ({kind}, {run["date"]}, {run.get("minutes", 0)} minutes). *Ours* is the
application as `make run` starts it, filled through `ingest_dataset` and HTTP, its index left to
itself; the *baseline* is the design that people build first (`benchmarks/baseline.py`: FastAPI,
texts padded to 77 tokens, torch in fp32, IndexFlatL2, a background task an item), which starts with
its vectors given. Both ran in one session over {plan["items"]:,} captions with a CLIP ViT-B/32 of
full size and random weights: costs are real, results mean nothing. Loading and a new start are
also measured with the starter model, which `make run` takes by itself. Figures are medians of
{plan["rounds"]} alternating rounds.

{run["cores"]} cores, {run["processor"]} ({flags}), {run["memory_gb"]} GB, {run["system"]}; load
before the run {run["load_before"]}. {versions}.

## Targets

{table(("figure", "target", "measured", "reached"), judged)}""",
        _loading(results),
        _search(results),
        _ingestion(results),
        _engines(results),
        DISCUSSION.read_text(encoding="utf-8").strip(),
    ]
    return "\n\n".join(sections) + "\n"


def _loading(results: Results) -> str:
    rows = []
    for name, load in (("starter", results["starter"]), ("full-size CLIP", results["load"])):
        indexed = f"{load['indexed']:.0f} s" if load["indexed"] else "stays exact"
        rate = f"{load['items'] / load['embedded']:,.0f} /s"
        seconds = [f"{load[step]:.0f} s" for step in ("read", "embedded")]
        rows.append((name, f"{load['items']:,}", *seconds, rate, indexed))
    head = ("captions by `ingest_dataset`", "items", "read", "embedded", "rate", "index not exact")
    starter = results["starter"]
    text = (
        f"Seconds count from the start of the command. Starter: {starter['first']:.1f} s from an"
        f" empty folder to ready,\n{starter['again']:.1f} s with the loaded catalogue."
    )
    if backlog := results.get("backlog"):
        text += (
            f" Of a queue that grew to {backlog['most']:,},\n{backlog['long']:,.0f} items a second"
            f" at its longest, {backlog['short']:,.0f} near its end."
        )
    return f"## Loading\n\n{text}\n\n{table(head, rows)}"


def _search(results: Results) -> str:
    rows = []
    for ours, baseline in _pairs(results):
        values = [
            f"{number(ours[key])} | {number(baseline[key])}" for key in ("p50", "p99", "rate")
        ]
        shown = [f"{row['cpu']:.0f} %, {row['memory_mb']:,.0f} MB" for row in (ours, baseline)]
        ratio = f"{baseline['p50'] / ours['p50']:.1f}×, {ours['rate'] / baseline['rate']:.1f}×"
        rows.append((f"{ours['clients']}", *values, ratio, *shown))
    head = (
        *("clients", "P50, ms", "baseline", "P99, ms", "baseline", "a second", "baseline"),
        *("P50, rate", "processor, memory", "baseline"),
    )
    cached, pictures, beside = results["cached"], results["pictures"], results["beside"]
    fresh, building = results["fresh"], results["building"]
    others = "\n".join(
        [
            f"- texts asked again: P50 {number(cached['p50'])} ms, {cached['rate']:.0f} a second",
            f"- by picture: P50 {number(pictures['p50'])} ms, P99 {number(pictures['p99'])} ms",
            *_beside("pictures are ingested", beside),
            *_beside("another space is built", building),
            "- with facets, P50: "
            + ",\n  ".join(
                f"within {way} {number(row['p50'])} ms" for way, row in results["filtered"].items()
            ),
            f"- a vector's commit to its item found: median {fresh['median'] * 1000:.0f} ms,",
            f"  worst {fresh['worst'] * 1000:.0f} ms",
        ]
    )
    return f"""\
## Search

`POST /search_text/` over loopback HTTP; each client asks again when it has its answer, and no text
is asked twice. Memory (PSS) and processor (of one core) are those of the whole tree.

{table(head, rows)}

{others}

![Latency]({PLOTS}/latency.svg)
![Rate]({PLOTS}/rate.svg)"""


def _beside(what: str, rows: Results) -> list[str]:
    busy, idle = rows["busy"], rows["idle"]
    return [
        f"- one client: P50 {number(busy['p50'])} ms, P99 {number(busy['p99'])} ms while",
        f"  {what}, {number(idle['p50'])} and {number(idle['p99'])} ms without",
    ]


def _ingestion(results: Results) -> str:
    rows = [
        (
            f"{SIZES[row['size']]}, {row['way']}",
            *(f"{number(row[name]['rate'])} /s" for name in SYSTEMS),
            f"{row['ours']['rate'] / row['baseline']['rate']:.1f}×",
            f"{number(row['bare'])} /s",
            *(f"{row[name]['cpu']:.0f} %, {row[name]['memory_mb']:,.0f} MB" for name in SYSTEMS),
        )
        for row in results["ingestion"]
    ]
    head = ("pictures", *SYSTEMS, "ratio", "bare encoder", "processor, memory", "baseline")
    return f"""\
## Ingestion of pictures

From the first picture's arrival to the last one's vector. *Batch* is a folder (`ingest_dataset`;
the baseline's batch script, whose processor and memory are not counted), *stream*
`POST /ingest_stream/` from 4 clients. The bare encoder runs over decoded 512-pixel pictures.

{table(head, rows)}

![Ingestion]({PLOTS}/ingestion.svg)"""


def _engines(results: Results) -> str:
    encoders = zip(results["encoders"]["ours"], results["encoders"]["baseline"], strict=True)
    rows = [
        (
            f"{a['modality']}, batch {a['batch']}",
            *(f"{number(row['ms'])} ms" for row in (a, b)),
            f"{b['ms'] / a['ms']:.1f}×",
            *(f"{number(row['batch'] * 1000 / row['ms'])} /s" for row in (a, b)),
        )
        for a, b in encoders
    ]
    head = ("encoder alone", "ours, int8", "baseline", "ratio", "ours", "baseline")
    indexes = [
        (
            f"{row['vectors']:,} vectors, {row['index']}",
            f"{row['build_s']:.1f} s" if row["build_s"] else "",
            f"{row['bytes']:.0f} B" if row["bytes"] else "",
            f"{row['recall']:.4f}",
            f"{row['p50_ms']:.2f} ms",
            f"{row['p99_ms']:.2f} ms",
        )
        for row in results["index"]
    ]
    columns = ("index alone", "build", "memory/vector", "recall@10", "P50", "P99")
    return f"## The engines alone\n\n{table(head, rows)}\n\n{table(columns, indexes)}"


def charts(results: Results) -> dict[str, str]:
    """SVG charts by file name."""

    def by_clients(key: str) -> list[tuple[str, tuple[float, float]]]:
        return [(f"{a['clients']} clients", (a[key], b[key])) for a, b in _pairs(results)]

    pictures = [
        (f"{SIZES[row['size']]}, {row['way']}", tuple(row[name]["rate"] for name in SYSTEMS))
        for row in results["ingestion"]
    ]
    return {
        "latency": bars("Text search over HTTP: P50", "ms", SYSTEMS, by_clients("p50")),
        "rate": bars("Text searches a second over HTTP", "/s", SYSTEMS, by_clients("rate")),
        "ingestion": bars("Pictures ingested and embedded a second", "/s", SYSTEMS, pictures),
    }


def _pairs(results: Results) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Rows of both systems by number of clients."""
    return list(zip(*(results["search"][name] for name in SYSTEMS), strict=True))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table: the first column left, the others right."""
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
