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

from benchmarks.catalogues import write_mixed, write_products
from benchmarks.figures import describe
from benchmarks.material import ROOT
from benchmarks.servers import Ours

DEMO: Final = ROOT / "demo"
TEXT: Final = Path(__file__).with_suffix(".md")
"""What stands around the tables."""


def run_relevance(*, output: Path, say: Callable[[str], None]) -> Path:
    """Judge both catalogues and write the report. Raises BenchmarkError."""
    with tempfile.TemporaryDirectory(prefix="mmsearch-relevance-") as name:
        mixed, products, judged = (Path(name) / n for n in ("mixed.csv", "products.csv", "judged"))
        write_mixed(DEMO, mixed)
        write_products(DEMO, products, judged)
        say("Judging the demo catalogue, made uneven")
        halves = [["--half=tuning"], ["--half=held-out"]]
        tuning, held_out = _judge(mixed, DEMO / "relevance.jsonl", *halves)
        say("Judging a catalogue of products")
        (other,) = _judge(products, judged, [])
    target = output / "RELEVANCE.md"
    text = Template(TEXT.read_text(encoding="utf-8")).substitute(
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        processor=describe()["processor"],
        held_out=held_out,
        tuning=tuning,
        products=other,
    )
    target.write_text(text, encoding="utf-8")
    return target


def _judge(table: Path, qrels: Path, *options: list[str]) -> list[str]:
    """The tables of `manage.py evaluate` with each of the options, over one catalogue."""
    reports = []
    with Ours(table.with_suffix("")) as ours:
        ours.start()
        ours.manage("ingest_dataset", str(table), "--images", str(DEMO / "images"))
        ours.wait_idle()
        for chosen in options:
            report = ours.folder / "report.md"
            ours.manage("evaluate", str(qrels), *chosen, "--report", str(report))
            reports.append(report.read_text(encoding="utf-8").strip())
    return reports
