"""How well queries are answered, on two catalogues; writes RELEVANCE.md.

    python -m benchmarks relevance [--output DIR]

Each catalogue is loaded into the application as `make run` starts it, and judged by
`manage.py evaluate` once everything is embedded.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import Final

from benchmarks.machine import describe
from benchmarks.material import ROOT
from benchmarks.mixed import write_mixed
from benchmarks.products import write_products
from benchmarks.servers import LOOK, Ours

DEMO: Final = ROOT / "demo"
TEXT: Final = Path(__file__).with_suffix(".md")
"""What stands around the tables."""


def run_relevance(*, output: Path, say: Callable[[str], None]) -> Path:
    """Judge both catalogues and write the report. Raises BenchmarkError."""
    with tempfile.TemporaryDirectory(prefix="mmsearch-relevance-") as name:
        folder = Path(name)
        mixed, products = folder / "mixed.csv", folder / "products.csv"
        judged = folder / "products.jsonl"
        write_mixed(DEMO, mixed)
        write_products(DEMO, products, judged)
        say("Judging the demo catalogue, made uneven")
        demo_queries = DEMO / "relevance.jsonl"
        tuning, held_out = _judge(
            mixed, demo_queries, ["--half=tuning"], ["--half=held-out"], folder=folder
        )
        say("Judging a catalogue of products")
        (other,) = _judge(products, judged, [], folder=folder)
    machine = describe()
    target = output / "RELEVANCE.md"
    target.write_text(
        Template(TEXT.read_text(encoding="utf-8")).substitute(
            date=datetime.now(UTC).strftime("%Y-%m-%d"),
            processor=machine["processor"],
            held_out=held_out,
            tuning=tuning,
            products=other,
        ),
        encoding="utf-8",
    )
    return target


def _judge(table: Path, qrels: Path, *options: list[str], folder: Path) -> list[str]:
    """The tables of `manage.py evaluate` with each of the options, over one catalogue."""
    reports = []
    with Ours(folder / table.stem) as ours:
        ours.start()
        ours.manage("ingest_dataset", str(table), "--images", str(DEMO / "images"))
        ours.wait(lambda: not ours.get("/stats/")["pending"], "embedded items", poll=LOOK)
        for chosen in options:
            report = folder / "report.md"
            ours.manage("evaluate", str(qrels), *chosen, "--report", str(report))
            reports.append(report.read_text(encoding="utf-8").strip())
    return reports
