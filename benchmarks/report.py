"""From results to docs/PERFORMANCE_REPORT.md, in report.md's words, and its plots."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmarks.figures import number
from benchmarks.material import SIZES
from benchmarks.plots import Group, bars
from benchmarks.targets import SYSTEMS, Results, targets

REPORT: Final = "PERFORMANCE_REPORT.md"
PLOTS: Final = "performance"
"""Folder of plots and results beside the report."""


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
    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    pages.filters |= {"number": number, "format": format}
    encoders = results["encoders"]
    return pages.get_template("report.md").render(
        {"backlog": None, **results},
        targets=targets(results),
        searches=zip(*(results["search"][name] for name in SYSTEMS), strict=True),
        engines=zip(*(encoders[name] for name in SYSTEMS), strict=True),
        sizes=SIZES,
    )


def charts(results: Results) -> dict[str, str]:
    """SVG charts by file name."""
    ours, baseline = (results["search"][name] for name in SYSTEMS)

    def by_clients(key: str) -> list[Group]:
        pairs = zip(ours, baseline, strict=True)
        return [(f"{a['clients']} clients", (a[key], b[key])) for a, b in pairs]

    pictures = [
        (f"{SIZES[row['size']]}, {row['way']}", [row[name]["rate"] for name in SYSTEMS])
        for row in results["ingestion"]
    ]
    return {
        "latency": bars("Text search over HTTP: P50", "ms", SYSTEMS, by_clients("p50")),
        "rate": bars("Text searches a second over HTTP", "/s", SYSTEMS, by_clients("rate")),
        "ingestion": bars("Pictures ingested and embedded a second", "/s", SYSTEMS, pictures),
    }
