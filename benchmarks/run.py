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
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Final

from benchmarks.bare import encoder_rows, index_rows
from benchmarks.figures import describe
from benchmarks.full_size import PREPARED, prepare
from benchmarks.material import SIZES, WORK, Stock
from benchmarks.processes import apart, memory_mb
from benchmarks.rounds import Baseline, Plan, Rounds, Row
from benchmarks.servers import EXACT_ROWS, BenchmarkError, Ours

UNFINISHED: Final = WORK / "unfinished.json"
QUEUE: Final = "SELECT (SELECT max(id) FROM catalog_item), count(*) FROM embeddings_embeddingjob"
Say = Callable[[str], None]
Results = Iterator[tuple[str, Any]]
"""Names and figures, each as soon as it is measured."""


def run_benchmark(plan: Plan, *, say: Say) -> Row:
    """Measure everything in `plan`. Ends what it started. Raises BenchmarkError."""
    began = time.monotonic()

    def tell(line: str) -> None:
        say(f"[{time.monotonic() - began:5.0f} s] {line}")

    tell("Preparing model and pictures (kept in benchmarks/work/)")
    model = apart(prepare, "clip")
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    results: Row = {"run": {"date": date, "plan": dataclasses.asdict(plan), **describe()}}
    with tempfile.TemporaryDirectory(prefix="run-", dir=WORK) as name:
        folder = Path(name)
        rounds = Rounds(plan, Stock(folder))
        try:
            results |= chain(
                starter(rounds, folder, tell),
                encoders(rounds, model, tell),
                full_size(rounds, model, folder, tell),
            )
        except BaseException:
            UNFINISHED.write_text(json.dumps(results, indent=1), encoding="utf-8")
            say(f"Not finished; what was measured is in {UNFINISHED}")
            raise
    results["run"]["minutes"] = round((time.monotonic() - began) / 60, 1)
    return results


def starter(rounds: Rounds, folder: Path, say: Say) -> Results:
    """The shipped model: from an empty folder to a loaded catalogue, and a new start."""
    plan = rounds.plan
    say(f"Starter: an empty folder, then {plan.items:,} captions")
    with Ours(folder / "starter") as ours:
        first = ours.start()
        loaded = _load(ours, rounds)
        ours.stop()
        yield "starter", {"first": first, "again": ours.start(), **loaded}
    if plan.backlog:
        say(f"Starter: {plan.backlog:,} captions by ingest_dataset --wait")
        with Ours(folder / "backlog") as ours:
            ours.start()
            yield "backlog", _backlog(ours, rounds)


def encoders(rounds: Rounds, model: str, say: Say) -> Results:
    """The encoders, each in a process of its own."""
    rows = {}
    for name in ("ours", "baseline"):
        say(f"Encoder alone: {name}")
        rows[name] = apart(encoder_rows, name, model, rounds.plan.seconds / 3)
    yield "encoders", rows


def full_size(rounds: Rounds, model: str, folder: Path, say: Say) -> Results:
    """A CLIP of full size on both sides, over HTTP."""
    plan = rounds.plan
    # By hand: the space that is built beside is no better, it is there to be built.
    ours = Ours(folder / "ours", model=model, MMSEARCH_SWITCH="manual")
    (ours.folder / "models").symlink_to(PREPARED)
    captions = rounds.stock.captions(plan.items)
    baseline = Baseline(folder / "baseline", model=model, captions=captions)

    def bare() -> float:
        """Pictures a second of the encoder alone at its best batch size, right now."""
        rows = apart(encoder_rows, "ours", model, 0.5)
        images = [row for row in rows if row["modality"] == "image"]
        return float(max(row["batch"] * 1000 / row["ms"] for row in images))

    with ours, baseline:
        say(f"Full-size CLIP: {plan.items:,} captions through the worker")
        ours.start()
        yield "load", _load(ours, rounds)
        baseline.start()
        say("Searches over HTTP")
        yield "search", rounds.searches(ours, baseline)
        yield "cached", rounds.cached(ours)
        yield "filtered", rounds.filtered(ours)
        yield "pictures", rounds.pictures(ours)
        say("Ingestion of pictures")
        ways = [(size, way) for size in SIZES for way in ("batch", "stream")]
        yield "ingestion", [rounds.ingestion(ours, baseline, *each, bare=bare) for each in ways]
        baseline.stop()
        say("Searches beside ingestion, and from commit to result")
        yield "beside", rounds.ingesting(ours)
        yield "fresh", rounds.freshness(ours)
        if plan.memory:
            say(f"Memory over {plan.memory:,} pictures")
            yield "memory", rounds.memory(ours)
        say("Index alone, over the same vectors")
        yield "index", apart(index_rows, ours.database_url)
        say("Searches while another space is built")
        yield "building", rounds.building(ours)


def _load(ours: Ours, rounds: Rounds) -> Row:
    """Captions by `ingest_dataset`: seconds until read, embedded, and no longer exact."""
    count = rounds.plan.items
    captions = rounds.stock.captions(count)
    began = time.perf_counter()
    ours.manage("ingest_dataset", str(captions))
    read = time.perf_counter() - began
    row = {"items": count, "read": read, "embedded": ours.wait_idle() - began, "indexed": None}
    if count > EXACT_ROWS:  # below, exact is what it stays
        row["indexed"] = ours.wait_indexed(delta=max(EXACT_ROWS // 2, count // 50)) - began
    return {**row, "memory_mb": memory_mb(ours.processes())}


def _backlog(ours: Ours, rounds: Rounds) -> Row:
    """Items embedded a second while many, and while few, are waiting; all are read by then."""
    count = rounds.plan.backlog
    command = ("ingest_dataset", str(rounds.stock.captions(count)), "--wait")
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
