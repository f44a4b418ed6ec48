"""Both systems over HTTP in alternating rounds: searches, ingestion, one beside the other."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import chain, product
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.load import LoadResult
from benchmarks.material import Stock
from benchmarks.processes import apart, cpu_seconds, memory_mb
from benchmarks.servers import SQLITE, BenchmarkError, Ours, Server

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
WAYS: Final[dict[str, dict[str, Any]]] = {
    "every item": {},
    "a category, a tenth": {"category": ["shelf 3"]},
    "a tag, a hundredth": {"tags": ["box 42"]},
}
"""Filters, and the share of the catalogue that they leave."""
Row = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """How much of everything a run does; figures are medians over `rounds`."""

    items: int
    quick: bool = False
    rounds: int = 3
    clients: tuple[int, ...] = (1, 8, 32)
    seconds: float = 5.0
    """A round of searches; the encoders take less than half of it a batch size."""
    pictures: int = 96
    """12-megapixel pictures a round for ours; of 512 pixels five times as many, for the baseline
    an eighth of each: it is slower, and its rate is steady."""
    beside: int = 1200
    """512-pixel pictures ingested while searches are timed."""
    fresh: int = 20
    """Items whose way into the index is timed one by one."""
    memory: int = 20_000
    """Pictures over which memory may not grow."""
    backlog: int = 0
    """Captions loaded at once, to see whether a long queue is slower than a short one."""


FULL: Final = Plan(items=100_000)
QUICK: Final = Plan(
    items=5_000, quick=True, rounds=1, seconds=1.5, pictures=16, beside=250, fresh=5, memory=0
)


class Baseline(Server):
    """The original design under uvicorn."""

    name = "baseline"
    ready_path = "/stats/"
    embedded_since = "SELECT count(*) FROM items WHERE id > ?"
    last_embedded = "SELECT max(id) FROM items"

    def __init__(self, folder: Path, *, model: str, captions: Path) -> None:
        quiet = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
        super().__init__(folder, dict(os.environ) | quiet)
        self.model = model
        program = (sys.executable, "-m", "benchmarks.baseline")
        self.command = (*program, model, str(folder), str(self.port), str(captions))
        self.database_url = f"{SQLITE}{folder / 'metadata.db'}"


def _baseline_batch(model: str, folder: Path) -> float:
    """The baseline's batch ingestion of a folder into a fresh store; pictures a second."""
    from benchmarks.baseline import ingest  # takes all of torch with it

    return ingest(model, folder.with_name(f"{folder.name}-store"), folder)


@dataclasses.dataclass(frozen=True)
class Rounds:
    """What is asked of the servers, as often as the plan says."""

    plan: Plan
    stock: Stock

    def searches(self, *servers: Server) -> dict[str, list[Row]]:
        """Latency and rate by number of clients. No text is asked twice: no cache answers."""
        counts = self.plan.clients
        rows: dict[str, dict[int, list[Row]]] = {s.name: {n: [] for n in counts} for s in servers}
        for server in servers:
            server.load(PATH, self.stock.words(20), clients=4)
        for _, server, clients in product(range(self.plan.rounds), servers, counts):
            with _watched(server) as row:
                row.update(self._load(server, clients=clients).summary())
            rows[server.name][clients].append(row)
        return {
            name: [{"clients": clients, **_middle(each)} for clients, each in by_clients.items()]
            for name, by_clients in rows.items()
        }

    def cached(self, ours: Ours) -> Row:
        """The same few texts again and again."""
        few = self.stock.words(50)
        again = few * int(FASTEST * self.plan.seconds / len(few))
        return ours.load(PATH, again, seconds=self.plan.seconds).summary()

    def pictures(self, ours: Ours) -> Row:
        """Searches by picture of one client."""
        asked = self.stock.pictures("small", 40 * self.plan.rounds)
        return ours.load("/search_image/", asked).summary()

    def filtered(self, ours: Ours) -> dict[str, Row]:
        """Searches of one client with facets, within WAYS."""
        rows: dict[str, list[Row]] = {way: [] for way in WAYS}
        for _ in range(self.plan.rounds):
            for way, beside in WAYS.items():
                rows[way].append(self._load(ours, API, beside=beside).summary())
        return {way: _middle(each) for way, each in rows.items()}

    def building(self, ours: Ours) -> Row:
        """Searches of one client, first alone, then while the starter's space is built.

        It goes on being built when this ends.
        """

        def built() -> int:
            """Items done in the space that is being built; 0 where none is, or nothing is yet."""
            spaces = ours.get("/stats/")["spaces"]
            return sum(space["done"] for space in spaces if space["state"] == "building")

        def begin() -> None:
            ours.manage("open_space", "starter")
            ours.wait(lambda: built() > 0, "the first item in the new space")

        return self._beside(ours, begin, lambda: not built(), at_most=BUILDING)

    def ingesting(self, ours: Ours) -> Row:
        """Searches of one client, first alone, then while a folder is ingested and embedded."""
        paths = self.stock.pictures("small", self.plan.beside)
        mark = ours.mark()
        ingest = threading.Thread(target=ours.manage, args=("ingest_dataset", str(paths[0].parent)))

        def begin() -> None:
            ingest.start()
            ours.wait(lambda: ours.embedded(mark) > 0, "the first picture")

        row = self._beside(ours, begin, lambda: ours.embedded(mark) >= len(paths))
        ingest.join()
        return row

    def _beside(
        self,
        ours: Ours,
        begin: Callable[[], None],
        is_over: Callable[[], bool],
        *,
        at_most: int = sys.maxsize,
    ) -> Row:
        """Searches before something begins, and rounds of two seconds until it is over."""
        idle = [self._load(ours) for _ in range(self.plan.rounds)]
        begin()
        busy: list[LoadResult] = []
        while len(busy) < at_most:
            result = self._load(ours, seconds=2.0)
            if is_over():
                break  # it ended within this round, which does not count
            busy.append(result)
        if not busy:
            raise BenchmarkError("It was over before searches beside it were measured.")
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
            self._ingest(ours, "small", "batch", count)
            read.append(memory_mb(ours.processes()))
        return {"pictures": self.plan.memory, "few_mb": read[0], "many_mb": read[1]}

    def _load(
        self, server: Server, path: str = PATH, *, seconds: float = 0.0, **how: Any
    ) -> LoadResult:
        seconds = seconds or self.plan.seconds
        texts = self.stock.words(int(FASTEST * seconds))
        return server.load(path, texts, seconds=seconds, **how)

    def _ingest(self, server: Server, size: str, way: str, count: int) -> Row:
        """Pictures a second of a folder, or from a few clients by `/ingest_stream/`."""
        paths = self.stock.pictures(size, count)
        folder = paths[0].parent
        with _watched(server) as row:
            if way == "batch" and isinstance(server, Baseline):
                row["rate"] = apart(_baseline_batch, server.model, folder)
            else:
                mark, began = server.mark(), time.perf_counter()
                if way == "stream":
                    server.load("/ingest_stream/", paths, clients=STREAMS)
                elif isinstance(server, Ours):
                    told = server.manage("shell", "-v0", "-c", INGEST.format(folder=str(folder)))
                    began = float(told.split()[0])
                row["rate"] = count / (server.wait_embedded(mark, count) - began)
        shutil.rmtree(folder)
        return row


@contextlib.contextmanager
def _watched(server: Server) -> Iterator[Row]:
    """A row that has the server's processor (percent of a core) and memory after the block."""
    row: Row = {}
    processes = server.processes()
    before, began = cpu_seconds(processes), time.perf_counter()
    yield row
    row["cpu"] = 100 * (cpu_seconds(processes) - before) / (time.perf_counter() - began)
    row["memory_mb"] = memory_mb(processes)


def _pooled(results: list[LoadResult]) -> Row:
    """One result of all: a round has too few requests for a P99."""
    durations = list(chain.from_iterable(result.durations for result in results))
    return LoadResult(durations, sum(result.elapsed for result in results), 0).summary()


def _middle(rows: list[Row]) -> Row:
    """The median of every figure."""
    return {name: median(row[name] for row in rows) for name in rows[0]}
