"""Runs every measurement in turn, both systems in the same session; results as one JSON value."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine, material
from benchmarks.index import Corpus
from benchmarks.ingesting import measure_ingestion, measure_memory
from benchmarks.plan import Plan
from benchmarks.searching import (
    PATH,
    measure_cached,
    measure_freshness,
    measure_search,
    measure_while_ingesting,
)
from benchmarks.servers import BenchmarkError, end_on_signals
from benchmarks.systems import Baseline, Ours

Results = dict[str, Any]
Say = Callable[[str], None]


def run_benchmark(plan: Plan, *, say: Say, note: str = "") -> Results:
    """Measure everything in `plan`. Raises BenchmarkError.

    Ends every process that it started, however it ends itself.
    """
    began = time.monotonic()
    material.WORK.mkdir(parents=True, exist_ok=True)
    with end_on_signals(), _folder() as folder:
        run = Run(plan, folder, say)
        run.results["run"] = {
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "quick": plan.quick,
            "items": plan.items,
            "rounds": plan.rounds,
            "model": plan.model.name,
            "note": note,
            "machine": machine.describe_machine(),
            "versions": machine.describe_versions(),
        }
        run.encoders()
        run.index()
        run.served()
        if not plan.quick:
            run.memory()
            run.first_result()
        run.results["run"]["minutes"] = round((time.monotonic() - began) / 60, 1)
    return run.results


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder for both systems' data, gone at the end."""
    path = Path(tempfile.mkdtemp(prefix="run-", dir=material.WORK))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


class Run:
    """One run of the benchmark: what is measured so far."""

    def __init__(self, plan: Plan, folder: Path, say: Say) -> None:
        self.plan = plan
        self.folder = folder
        self.results: Results = {}
        self._say = say
        self._began = time.monotonic()
        self._texts = material.captions(seed=3)
        say("Preparing model and pictures (kept in benchmarks/work/)")
        material.ensure_prepared(plan.model, "int8")
        if not plan.quick:
            material.ensure_prepared(plan.model, "fp32")
        self._pictures = material.ensure_pictures()

    def say(self, line: str) -> None:
        self._say(f"[{time.monotonic() - self._began:5.0f} s] {line}")

    def encoders(self) -> None:
        """The bare encoders, each in a process of its own."""
        names = (
            ["ours-int8", "baseline"]
            if self.plan.quick
            else [
                "ours-int8",
                "ours-fp32",
                "baseline",
            ]
        )
        self.results["encoders"] = {}
        for name in names:
            self.say(f"Encoder alone: {name}")
            arguments = [name, str(self.plan.model), str(self.plan.encoder_seconds)]
            self.results["encoders"][name] = _json_of("benchmarks.encoder_speed", arguments)

    def index(self) -> None:
        """The vector index alone."""
        self.say("Index alone")
        file = self.folder / "index.json"
        sizes = [str(size) for size in self.plan.index_sizes]
        arguments = ["-m", "benchmarks.index", "--json", str(file), "--vectors", *sizes]
        _run(arguments)
        self.results["index"] = json.loads(file.read_text(encoding="utf-8"))

    def served(self) -> None:
        """Everything over HTTP, then the stages of a request without it."""
        plan = self.plan
        vectors, captions = self._write_corpus()
        ours_folder, baseline_folder = self.folder / "ours", self.folder / "baseline"
        ours_folder.mkdir()
        baseline_folder.mkdir()
        ours = Ours(ours_folder, model=str(plan.model))
        ours.share_prepared_models()
        self.say(f"Filling the database with {plan.items:,} embedded items")
        ours.run("-m", "benchmarks.prefill", str(vectors), str(captions))
        ours.run("manage.py", "rebuild_index")
        baseline = Baseline(baseline_folder, model=plan.model, vectors=vectors, captions=captions)
        with ours, baseline:
            self.say("Starting both servers")
            baseline.start()  # the first start fills its store
            baseline.stop()
            self.results["start"] = {"ours": ours.start(), "baseline": baseline.start()}
            self._served(ours, baseline)
        self.say("Stages of a search and of a picture's way in")
        anatomy = {
            "search": json.loads(ours.run("-m", "benchmarks.anatomy", "search", "150")),
            "ingest": json.loads(ours.run("-m", "benchmarks.anatomy", "ingest", "24")),
        }
        self.results["anatomy"] = anatomy

    def _served(self, ours: Ours, baseline: Baseline) -> None:
        plan, results = self.plan, self.results
        self.say("Searches over HTTP")
        results["search"] = measure_search([ours, baseline], plan, self._texts)
        results["cached"] = measure_cached(ours, plan, self._texts)
        self.say("Ingestion")
        results["ingestion"] = measure_ingestion(ours, baseline, plan, self._pictures)
        baseline.stop()
        self.say("Searches beside ingestion")
        pictures = material.write_pictures(
            self.folder / "beside", self._pictures["small"], plan.beside, label="beside"
        )
        results["beside"] = measure_while_ingesting(ours, plan, self._texts, pictures)
        self.say("From commit to search result")
        results["fresh"] = measure_freshness(ours, plan, self._texts)

    def _write_corpus(self) -> tuple[Path, Path]:
        """Vectors and captions that both systems start with."""
        vectors, captions = self.folder / "vectors.npy", self.folder / "captions.txt"
        config = json.loads((self.plan.model / "config.json").read_text(encoding="utf-8"))
        corpus = Corpus(dimension=config["projection_dim"])
        chunks = [rows for _, rows in corpus.chunks(self.plan.items)]
        np.save(vectors, np.concatenate(chunks))
        lines = islice(material.captions(seed=5), self.plan.items)
        captions.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return vectors, captions

    def memory(self) -> None:
        """Memory after few and after many embedded items."""
        self.say("Memory over many items (starter model)")
        folder = self.folder / "memory"
        folder.mkdir()
        self.results["memory"] = measure_memory(
            folder, self.plan, self._pictures["small"], "starter"
        )

    def first_result(self) -> None:
        """From the start over an empty data folder to the first search result."""
        self.say("First start over an empty folder")
        folder = self.folder / "first"
        folder.mkdir()
        began = time.perf_counter()
        with Ours(folder, model="starter", demo=True) as ours:
            ready = ours.start()
            count = 0
            while not count:
                if time.perf_counter() - began > 120:
                    raise BenchmarkError("The demo catalogue gave no result within two minutes.")
                answer = ours.post(PATH, {"query_text": "a smiling face", "top_n": 5})
                count = len(answer["results"])
            self.results["first"] = {
                "ready": ready,
                "first_result": time.perf_counter() - began,
                "results": count,
            }


def _run(arguments: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=material.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BenchmarkError(f"{' '.join(arguments[:3])} failed:\n{done.stderr[-1500:]}")
    return done.stdout


def _json_of(module: str, arguments: list[str]) -> Any:
    return json.loads(_run(["-m", module, *arguments]))
