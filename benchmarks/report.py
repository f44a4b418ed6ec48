"""From results to docs/PERFORMANCE_REPORT.md and its plots."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from benchmarks import chapters, inside
from benchmarks.charts import charts
from benchmarks.markdown import PLOTS, table
from benchmarks.targets import targets

REPORT: Final = "PERFORMANCE_REPORT.md"
RESULTS: Final = "results.json"
DISCUSSION: Final = Path(__file__).with_name("discussion.md")
Results = dict[str, Any]


def write_report(results: Results, directory: Path) -> Path:
    """Write the report, its plots and the results into `directory`; returns the report's path."""
    folder = directory / PLOTS
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1, ensure_ascii=False)
    (folder / RESULTS).write_text(f"{text}\n", encoding="utf-8")
    for name, plot in charts(results).items():
        (folder / f"{name}.svg").write_text(plot, encoding="utf-8")
    report = directory / REPORT
    report.write_text(render(results), encoding="utf-8")
    return report


def read_results(directory: Path) -> Results:
    """The results that the last report in `directory` was written from."""
    results: Results = json.loads((directory / PLOTS / RESULTS).read_text(encoding="utf-8"))
    return results


def render(results: Results) -> str:
    """The report as Markdown."""
    sections = (
        _introduction(results),
        _targets(results),
        chapters.ingestion(results),
        chapters.encoders(results),
        chapters.search(results),
        chapters.resources(results),
        chapters.operation(results),
        inside.index(results),
        inside.stages(results),
        DISCUSSION.read_text(encoding="utf-8").strip(),
    )
    return "\n\n".join(sections) + "\n"


def _introduction(results: Results) -> str:
    run, machine = results["run"], results["run"]["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    kind = "quick run, one round each: rough figures" if run["quick"] else "full run"
    note = f"\n\n{run['note']}" if run["note"] else ""
    return f"""\
# Performance report

Written by `manage.py benchmark` ({kind}, {run["date"]}, {run.get("minutes", 0)} minutes).
*Ours* is the application as `make run` starts it; the *baseline* is the design that people build
first (`benchmarks/baseline.py`: FastAPI, transformers' CLIP processor padding every text to 77
tokens, torch in fp32, IndexFlatL2, one background task an item). Both ran in the same session on
the same machine with the same model, a CLIP ViT-B/32 of full size with random weights: what it
costs is what the real one costs, and no figure here says anything about the quality of results.
Figures are medians of {run["rounds"]} rounds unless they say otherwise; rounds of the two systems
alternate.

| | |
| --- | --- |
| machine | {machine["cores"]} cores, {machine["processor"]} ({", ".join(machine["flags"])}), \
{machine["memory_gb"]} GB, {machine["system"]} |
| load before the run | {machine["load_before"]} |
| catalogue | {run["items"]:,} items: ours holds a picture's and a caption's vector of each \
({2 * run["items"]:,} vectors), the baseline one vector of each |
| versions | {versions} |{note}"""


def _targets(results: Results) -> str:
    marks = {True: "yes", False: "**no**", None: "–"}
    rows = [(t.figure, t.bar, t.measured, marks[t.reached]) for t in targets(results)]
    return "## Targets\n\n" + table(("figure", "target", "measured", "reached"), rows)
