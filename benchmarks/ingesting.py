"""How fast pictures become searchable, and what that takes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.latency import median
from benchmarks.material import ROOT, WORK, write_pictures
from benchmarks.plan import Plan
from benchmarks.searching import Row, middle
from benchmarks.servers import Server
from benchmarks.systems import Baseline, Ours
from benchmarks.usage import Usage, memory_mb

SIZES: Final = {"large": "12-megapixel JPEG", "small": "512-pixel JPEG"}


def measure_ingestion(
    ours: Ours, baseline: Baseline, plan: Plan, pictures: dict[str, list[bytes]]
) -> list[Row]:
    """Pictures a second, batch and stream, from the first's arrival to the last's vector."""
    rows = []
    for size in SIZES:
        count = getattr(plan, size)
        fewer = max(4, int(count * plan.baseline_share))
        for way, ours_way, baseline_way in (
            ("batch", batch_ours, batch_baseline),
            ("stream", stream, stream),
        ):
            _round(ours, 8, pictures[size], stream)  # both processes have their model loaded
            _round(baseline, 2, pictures[size], stream)
            ours_rounds, baseline_rounds, bare = [], [], []
            for _ in range(plan.rounds):
                ours_rounds.append(_round(ours, count, pictures[size], ours_way))
                bare.append(bare_rate(plan))
                baseline_rounds.append(_round(baseline, fewer, pictures[size], baseline_way))
            rows.append(
                {
                    "size": size,
                    "way": way,
                    "count": count,
                    "ours": middle(ours_rounds),
                    "baseline": middle(baseline_rounds),
                    "bare": median(bare),
                }
            )
    return rows


def bare_rate(plan: Plan) -> float:
    """Pictures a second of the int8 encoder alone at its best batch size, right now."""
    command = [sys.executable, "-m", "benchmarks.encoder_speed", "ours-int8", str(plan.model)]
    done = subprocess.run(
        [*command, "0.5", "pictures"], cwd=ROOT, capture_output=True, check=True, text=True
    )
    rates = [row["batch"] * 1000 / row["ms"] for row in json.loads(done.stdout)]
    return float(max(rates))


def _round(
    server: Server, count: int, pictures: list[bytes], way: Callable[[Any, list[Path]], float]
) -> Row:
    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        label = f"{server.name}-{time.monotonic_ns():x}"
        paths = write_pictures(Path(folder) / "pictures", pictures, count, label=label)
        usage = Usage(server.processes())
        rate = way(server, paths)
        return {"rate": rate, **usage.read()}


def batch_ours(ours: Ours, paths: list[Path]) -> float:
    """`ingest_dataset` of a folder beside the running worker."""
    mark = ours.mark()
    began = float(ours.run("-m", "benchmarks.ingest_batch", str(paths[0].parent)).split()[0])
    return len(paths) / (ours.wait_embedded(mark, len(paths)) - began)


def batch_baseline(baseline: Baseline, paths: list[Path]) -> float:
    """Its batch script over the same folder."""
    empty = paths[0].parent.parent / "empty"
    return baseline.ingest_batch(paths[0].parent, empty)


def stream(server: Server, paths: list[Path], clients: int = 4) -> float:
    """`/ingest_stream/` from a few clients."""
    mark = server.mark()
    began = time.perf_counter()
    server.load("/ingest_stream/", clients=clients, pictures=[str(path) for path in paths])
    return len(paths) / (server.wait_embedded(mark, len(paths)) - began)


def measure_memory(folder: Path, plan: Plan, picture: list[bytes], model: str) -> Row:
    """Worker and web process after so many embedded items, MB, through the true pipeline."""
    if plan.memory_steps is None:
        return {}
    first, second = plan.memory_steps
    rows = []
    with Ours(folder, model=model) as ours:
        ours.start()
        done = 0
        for total in (first, second):
            target = folder / f"to-{total}"
            write_pictures(target, picture, total - done, label=f"memory-{total}")
            began = time.perf_counter()
            batch_ours(ours, sorted(target.iterdir()))
            rows.append(
                {
                    "items": total,
                    "worker_mb": memory_mb(ours.role("worker")),
                    "web_mb": memory_mb(ours.role("web")),
                    "rate": (total - done) / (time.perf_counter() - began),
                }
            )
            shutil.rmtree(target)
            done = total
    return {"model": model, "steps": rows}
