"""Runs every measurement in turn, both systems in the same session; results as one JSON value.

Ours is used as a user uses it: started by its supervisor, filled through `ingest_dataset` or HTTP,
waited for by looking at `/stats/`. Nobody maintains its index for it.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks.bare import encoder_rows, index_rows
from benchmarks.figures import describe
from benchmarks.full_size import PREPARED, prepare
from benchmarks.material import SIZES, WORK, Stock
from benchmarks.processes import apart, memory_mb
from benchmarks.rounds import Baseline, Plan, Rounds, Row
from benchmarks.servers import EXACT_ROWS, BenchmarkError, Ours

UNFINISHED: Final = WORK / "unfinished.json"
QUEUE: Final = "SELECT (SELECT max(id) FROM catalog_item), count(*) FROM embeddings_embeddingjob"


def run_benchmark(plan: Plan, *, say: Callable[[str], None]) -> Row:
    """Measure everything in `plan`. Ends what it started. Raises BenchmarkError."""
    began = time.monotonic()
    say("Preparing model and pictures (kept in benchmarks/work/)")
    model = apart(prepare, "clip")
    with tempfile.TemporaryDirectory(prefix="run-", dir=WORK) as name:
        folder = Path(name)
        run = Run(plan, model, folder, Stock(folder), say)
        date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        run.results["run"] = {"date": date, "plan": dataclasses.asdict(plan), **describe()}
        try:
            run.starter()
            run.encoders()
            run.full_size()
        except BaseException:
            UNFINISHED.write_text(json.dumps(run.results, indent=1), encoding="utf-8")
            say(f"Not finished; what was measured is in {UNFINISHED}")
            raise
        run.results["run"]["minutes"] = round((time.monotonic() - began) / 60, 1)
    return run.results


@dataclasses.dataclass
class Run:
    """One run of the benchmark: what is measured so far."""

    plan: Plan
    model: str
    folder: Path
    stock: Stock
    tell: Callable[[str], None]
    results: Row = dataclasses.field(default_factory=dict)
    began: float = dataclasses.field(default_factory=time.monotonic)

    def say(self, line: str) -> None:
        self.tell(f"[{time.monotonic() - self.began:5.0f} s] {line}")

    def starter(self) -> None:
        """The shipped model: from an empty folder to a loaded catalogue, and a new start."""
        self.say(f"Starter: an empty folder, then {self.plan.items:,} captions")
        with Ours(self.folder / "starter") as ours:
            first = ours.start()
            loaded = self._load(ours)
            ours.stop()
            self.results["starter"] = {"first": first, "again": ours.start(), **loaded}
        if self.plan.backlog:
            self.say(f"Starter: {self.plan.backlog:,} captions by ingest_dataset --wait")
            with Ours(self.folder / "backlog") as ours:
                ours.start()
                self.results["backlog"] = self._backlog(ours)

    def encoders(self) -> None:
        """The encoders, each in a process of its own."""
        self.results["encoders"] = {}
        for name in ("ours", "baseline"):
            self.say(f"Encoder alone: {name}")
            rows = apart(encoder_rows, name, self.model, self.plan.seconds / 3)
            self.results["encoders"][name] = rows

    def full_size(self) -> None:
        """A CLIP of full size on both sides, over HTTP."""
        rounds, captions = Rounds(self.plan, self.stock), self.stock.captions(self.plan.items)
        # By hand: the space that is built beside is no better, it is there to be built.
        ours = Ours(self.folder / "ours", model=self.model, MMSEARCH_SWITCH="manual")
        (ours.folder / "models").symlink_to(PREPARED)
        baseline = Baseline(self.folder / "baseline", model=self.model, captions=captions)
        results = self.results
        with ours, baseline:
            self.say(f"Full-size CLIP: {self.plan.items:,} captions through the worker")
            ours.start()
            results["load"] = self._load(ours)
            baseline.start()
            self.say("Searches over HTTP")
            results["search"] = rounds.searches(ours, baseline)
            results["cached"] = rounds.cached(ours)
            results["filtered"] = rounds.filtered(ours)
            results["pictures"] = rounds.pictures(ours)
            self.say("Ingestion of pictures")
            results["ingestion"] = [
                rounds.ingestion(ours, baseline, size, way, bare=self._bare_pictures)
                for size in SIZES
                for way in ("batch", "stream")
            ]
            baseline.stop()
            self.say("Searches beside ingestion, and from commit to result")
            results["beside"] = rounds.ingesting(ours)
            results["fresh"] = rounds.freshness(ours)
            if self.plan.memory:
                self.say(f"Memory over {self.plan.memory:,} pictures")
                results["memory"] = rounds.memory(ours)
            self.say("Index alone, over the same vectors")
            results["index"] = apart(index_rows, ours.database_url)
            self.say("Searches while another space is built")
            results["building"] = rounds.building(ours)

    def _load(self, ours: Ours) -> Row:
        """Captions by `ingest_dataset`: seconds until read, embedded, and no longer exact."""
        count = self.plan.items
        captions = self.stock.captions(count)
        began = time.perf_counter()
        ours.manage("ingest_dataset", str(captions))
        read = time.perf_counter() - began
        row = {"items": count, "read": read, "embedded": ours.wait_idle() - began, "indexed": None}
        if count > EXACT_ROWS:  # below, exact is what it stays
            row["indexed"] = ours.wait_indexed(delta=max(EXACT_ROWS // 2, count // 50)) - began
        return {**row, "memory_mb": memory_mb(ours.processes())}

    def _backlog(self, ours: Ours) -> Row:
        """Items embedded a second while many, and while few, are waiting; all are read by then."""
        count = self.plan.backlog
        command = ("ingest_dataset", str(self.stock.captions(count)), "--wait")
        ingest = threading.Thread(target=ours.manage, args=command)
        ingest.start()
        points: list[tuple[float, int]] = []
        most = 0
        while ingest.is_alive():
            ingest.join(0.2)
            items, waiting = ours.rows(QUEUE)[0]
            most = max(most, waiting)
            if items == count:
                points.append((time.perf_counter(), waiting))

        def rate(backlog: float) -> float:
            near = [point for point in points if 0.7 < point[1] / backlog < 1.3]
            if len(near) < 2:
                raise BenchmarkError(f"The queue was never near {backlog:,.0f}: take more.")
            return (near[0][1] - near[-1][1]) / (near[-1][0] - near[0][0])

        return {"most": most, "long": rate(0.8 * most), "short": rate(most / 40)}

    def _bare_pictures(self) -> float:
        """Pictures a second of the encoder alone at its best batch size, right now."""
        rows = apart(encoder_rows, "ours", self.model, 0.5)
        return max(r["batch"] * 1000 / r["ms"] for r in rows if r["modality"] == "image")
