"""Both systems over HTTP in alternating rounds: searches, ingestion, one beside the other."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.load import LoadResult
from benchmarks.material import ROOT
from benchmarks.processes import cpu_seconds, memory_mb
from benchmarks.servers import BenchmarkError, Ours, Server
from benchmarks.stock import Plan, Stock

PATH: Final = "/search_text/"
API: Final = "/api/v1/search/"
FASTEST: Final = 1500
"""Searches a second that no server here reaches: texts are made for that many."""
STREAMS: Final = 4
"""Clients of a stream."""
BUILDING: Final = 30
"""Rounds of two seconds that searches are timed in while another space is built."""
INGEST: Final = (
    "import time; from django.core.management import call_command;"
    "print(time.perf_counter(), flush=True); call_command('ingest_dataset', {folder!r})"
)
"""`manage.py ingest_dataset`, saying when it began: the interpreter's start is not counted."""
Row = dict[str, Any]


class Baseline(Server):
    """The original design under uvicorn."""

    name = "baseline"
    ready_path = "/stats/"
    embedded_since = "SELECT count(*) FROM items WHERE id > ?"
    last_embedded = "SELECT max(id) FROM items"

    def __init__(self, folder: Path, *, model: Path, captions: Path) -> None:
        quiet = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
        super().__init__(folder, dict(os.environ) | quiet)
        self._model = str(model)
        self.command = (
            *self._program("serve", folder),
            *("--port", str(self.port), "--captions", str(captions)),
        )
        self.database_url = f"sqlite:///{folder / 'metadata.db'}"

    def _program(self, action: str, data: Path) -> list[str]:
        program = [sys.executable, "-m", "benchmarks.baseline", action]
        return [*program, "--model", self._model, "--data", str(data)]

    def ingest_batch(self, folder: Path, empty: Path) -> float:
        """Its batch ingestion of a folder into a fresh store; pictures a second."""
        done = subprocess.run(
            [*self._program("ingest", empty), "--folder", str(folder)],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        words = done.stdout.split()  # Embedded N items in S s
        return int(words[1]) / float(words[4])


class Rounds:
    """What is asked of the servers, as often as the plan says."""

    def __init__(self, plan: Plan, stock: Stock) -> None:
        self.plan = plan
        self.stock = stock

    def searches(self, *servers: Server) -> dict[str, list[Row]]:
        """Latency and rate by number of clients. No text is asked twice: no cache answers."""
        rows: dict[tuple[str, int], list[Row]] = {}
        for server in servers:
            server.load(PATH, clients=4, texts=self.stock.words(20))
        for _ in range(self.plan.rounds):
            for server in servers:
                for clients in self.plan.clients:
                    row = self._watched(server, lambda s=server, c=clients: self._ask(s, c))  # type: ignore[misc]
                    rows.setdefault((server.name, clients), []).append(row)
        return {
            server.name: [
                {"clients": clients, **_middle(rows[server.name, clients])}
                for clients in self.plan.clients
            ]
            for server in servers
        }

    def cached(self, ours: Ours) -> Row:
        """The same few texts again and again."""
        few = self.stock.words(50)
        again = few * int(FASTEST * self.plan.seconds / len(few))
        return ours.load(PATH, clients=1, texts=again, seconds=self.plan.seconds).summary()

    def pictures(self, ours: Ours) -> Row:
        """Searches by picture of one client."""
        asked = [str(path) for path in self.stock.pictures("small", 40 * self.plan.rounds)]
        return ours.load("/search_image/", clients=1, pictures=asked).summary()

    def filtered(self, ours: Ours) -> dict[str, Row]:
        """Searches of one client with facets, within a tenth and a hundredth of the catalogue.

        Each beside the same without a filter.
        """
        ways: dict[str, Row] = {
            "every item": {},
            "a category, a tenth": {"category": ["shelf 3"]},
            "a tag, a hundredth": {"tags": ["box 42"]},
        }
        rows: dict[str, list[Row]] = {way: [] for way in ways}
        for _ in range(self.plan.rounds):
            for way, beside in ways.items():
                texts = self.stock.words(int(FASTEST * self.plan.seconds))
                load = ours.load(
                    API, clients=1, texts=texts, seconds=self.plan.seconds, beside=beside
                )
                rows[way].append(load.summary())
        return {way: _middle(each) for way, each in rows.items()}

    def building(self, ours: Ours) -> Row:
        """Searches of one client, first alone, then while the starter's space is built.

        It goes on being built when this ends.
        """
        idle = [self._load(ours, 1, self.plan.seconds) for _ in range(self.plan.rounds)]
        ours.manage("open_space", "starter")
        ours.wait(lambda: _being_built(ours) > 0, "the first item in the new space")
        busy: list[LoadResult] = []
        while len(busy) < BUILDING:
            result = self._load(ours, 1, 2.0)
            if not _being_built(ours):
                break  # it was complete within this round: it does not count
            busy.append(result)
        if not busy:
            raise BenchmarkError("The space was built before searches beside it were measured.")
        return {"idle": _pooled(idle), "busy": _pooled(busy)}

    def ingestion(
        self, ours: Ours, baseline: Baseline, size: str, way: str, *, bare: Callable[[], float]
    ) -> Row:
        """Pictures a second, from the first's arrival to the last's vector."""
        count = self.plan.pictures * (5 if size == "small" else 1)
        rows: dict[str, list[Row]] = {"ours": [], "baseline": []}
        alone = []
        self._ingest(ours, size, "stream", 8)  # both processes have their model loaded
        self._ingest(baseline, size, "stream", 2)
        for _ in range(self.plan.rounds):
            rows["ours"].append(self._ingest(ours, size, way, count))
            alone.append(bare())
            rows["baseline"].append(self._ingest(baseline, size, way, max(4, count // 8)))
        middles = {name: _middle(each) for name, each in rows.items()}
        return {"size": size, "way": way, "count": count, "bare": median(alone), **middles}

    def beside(self, ours: Ours) -> Row:
        """Searches of one client, first alone, then while a folder is ingested and embedded."""
        idle = [self._load(ours, 1, self.plan.seconds) for _ in range(self.plan.rounds)]
        paths = self.stock.pictures("small", self.plan.beside)
        mark = ours.mark()
        command = ("ingest_dataset", str(paths[0].parent))
        ingest = threading.Thread(target=ours.manage, args=command)
        ingest.start()
        ours.wait(lambda: ours.embedded(mark) > 0, "the first picture")
        busy: list[LoadResult] = []
        while True:
            result = self._load(ours, 1, 2.0)
            if ours.embedded(mark) >= len(paths):
                break  # the worker fell idle within this round: it does not count
            busy.append(result)
        ingest.join()
        if not busy:
            raise BenchmarkError("Embedding ended before searches beside it were measured.")
        return {"idle": _pooled(idle), "busy": _pooled(busy)}

    def freshness(self, ours: Ours) -> Row:
        """Seconds from a vector's commit, seen in the database, to a search that returns it."""
        delays = []
        for number, text in enumerate(self.stock.words(self.plan.fresh)):
            item_id, mark = f"fresh-{number}", ours.mark()
            ours.post("/api/v1/items/", {"item_id": item_id, "caption": text})
            committed = ours.wait_embedded(mark, 1)
            while item_id not in ours.found(text):
                if time.perf_counter() - committed > 10:
                    raise BenchmarkError(f"{item_id!r} is embedded, but its caption finds others.")
            delays.append(time.perf_counter() - committed)
        return {"median": median(delays), "worst": max(delays)}

    def memory(self, ours: Ours) -> Row:
        """The whole tree after few and after many pictures."""
        few = self.plan.memory // 20
        read = []
        for count in (few, self.plan.memory - few):
            paths = self.stock.pictures("small", count)
            _batch(ours, paths)
            shutil.rmtree(paths[0].parent)
            read.append(memory_mb(ours.processes()))
        return {"pictures": self.plan.memory, "few_mb": read[0], "many_mb": read[1]}

    def _ask(self, server: Server, clients: int) -> Row:
        return self._load(server, clients, self.plan.seconds).summary()

    def _load(self, server: Server, clients: int, seconds: float) -> LoadResult:
        texts = self.stock.words(int(FASTEST * seconds))
        return server.load(PATH, clients=clients, texts=texts, seconds=seconds)

    def _ingest(self, server: Server, size: str, way: str, count: int) -> Row:
        paths = self.stock.pictures(size, count)
        ingest = _stream if way == "stream" else _batch
        row = self._watched(server, lambda: {"rate": ingest(server, paths)})
        shutil.rmtree(paths[0].parent)
        return row

    def _watched(self, server: Server, work: Callable[[], Row]) -> Row:
        """What `work` gives, with processor (percent of a core) and memory of the server."""
        processes = server.processes()
        before, began = cpu_seconds(processes), time.perf_counter()
        row = work()
        cpu = 100 * (cpu_seconds(processes) - before) / (time.perf_counter() - began)
        return {**row, "cpu": cpu, "memory_mb": memory_mb(processes)}


def _being_built(ours: Ours) -> int:
    """Items done in the space that is being built; 0 where none is, or nothing is done yet."""
    spaces = ours.get("/stats/")["spaces"]
    return sum(space["done"] for space in spaces if space["state"] == "building")


def _batch(server: Server, paths: list[Path]) -> float:
    """Pictures a second of a folder, by what each system has for it."""
    folder = paths[0].parent
    if isinstance(server, Baseline):
        return server.ingest_batch(folder, folder.parent / f"{folder.name}-store")
    if not isinstance(server, Ours):
        raise TypeError(server)
    mark = server.mark()
    code = INGEST.format(folder=str(folder))
    began = float(server.manage("shell", "-v0", "-c", code).split()[0])
    return len(paths) / (server.wait_embedded(mark, len(paths)) - began)


def _stream(server: Server, paths: list[Path]) -> float:
    """Pictures a second by `/ingest_stream/` from a few clients."""
    mark, began = server.mark(), time.perf_counter()
    server.load("/ingest_stream/", clients=STREAMS, pictures=[str(path) for path in paths])
    return len(paths) / (server.wait_embedded(mark, len(paths)) - began)


def _pooled(results: list[LoadResult]) -> Row:
    """One result of all: a round has too few requests for a P99."""
    return LoadResult(
        durations=list(chain.from_iterable(result.durations for result in results)),
        elapsed=sum(result.elapsed for result in results),
        errors=0,
    ).summary()


def _middle(rows: list[Row]) -> Row:
    """The median of every figure."""
    return {name: median(row[name] for row in rows) for name in rows[0]}
