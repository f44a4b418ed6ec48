"""An installation in use for an hour: nothing may grow, nothing may be lost.

    python -m benchmarks soak [--minutes 60] [--items 50000] [--output DIR]

Searches, adds, edits and deletes over HTTP at a steady rate; in the first half a process is ended
now and then and the supervisor starts it again. What is read meanwhile is plotted, judged by its
trend, and at the end the invariants are checked by what a user can see.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode

import psutil

from benchmarks.clients import CATEGORIES, Ledger, Writer, nonsense
from benchmarks.figures import percentile
from benchmarks.invariants import Check, verify
from benchmarks.load import picture_form
from benchmarks.material import captions, small_picture
from benchmarks.processes import anonymous_mb
from benchmarks.servers import EXACT_ROWS, BenchmarkError, Ours
from benchmarks.soak_report import Readings, write_soak_report

SEARCHES: Final = 10.0
"""A second."""
WRITES: Final = 8.0
"""A second."""
SEARCHERS: Final = 3
VECTOR_MB: Final = 256 * 2 / 2**20
"""What a vector of the starter takes in the delta: 256 numbers of float16."""
ENDS: Final = (
    ("worker killed", "worker", 0, signal.SIGKILL),
    ("web ended", "web", 0, signal.SIGTERM),
    ("worker's child killed", "worker", -1, signal.SIGKILL),
    ("web killed", "web", 0, signal.SIGKILL),
)
"""What is done in turn: to which process of a role, by which signal."""
WAITING: Final = "SELECT count(*) FROM embeddings_embeddingjob WHERE failed_at IS NULL"
T = TypeVar("T")


@dataclasses.dataclass
class Outage:
    """A web server that was ended: searches from `began` to `ended` may fail."""

    began: float
    ended: float = float("inf")


class Soak:
    """One run: its threads, what they read, and what went wrong."""

    def __init__(self, ours: Ours, *, minutes: float, items: int) -> None:
        self.ours = ours
        self.seconds = minutes * 60
        self.readings = Readings(minutes=minutes, items=items)
        self.wrong: list[str] = []
        """What should not have happened, as far as it happened."""
        self.searches: list[tuple[float, float]] = []
        """When each was asked, and its seconds."""
        self.outages: list[Outage] = []
        self.generation = {"web": 0, "worker": 0}
        self.settled_at = {"web": 0.0, "worker": 0.0}
        self.ledger = Ledger()
        self.picture = small_picture()
        self.writer = Writer(ours, "soak", self.ledger, seed=1)
        self.began = 0.0
        self._over = threading.Event()

    def run(self, say: Callable[[str], None]) -> list[Check]:
        self.ours.start()
        say(f"Loading {self.readings.items:,} items by bulk")
        self.writer.load(self.readings.items)
        say(f"In use for {self.seconds / 60:g} minutes")
        self.began = time.monotonic()
        jobs: list[Callable[[], None]] = [self._write, self._sample, self._restart]
        jobs += [partial(self._search, seed) for seed in range(SEARCHERS)]
        with ThreadPoolExecutor(len(jobs)) as pool:
            ends = [pool.submit(job) for job in jobs]
            try:
                self._over.wait(self.seconds)
            finally:
                self._over.set()
        self.wrong += [repr(each.exception()) for each in ends if each.exception()]
        self._percentiles()
        self.readings.searches = len(self.searches)
        self.readings.operations = self.ledger.accepted_count - self.readings.items
        say("Looking at what is left")
        checks = verify(self.ours, self.ledger, [self.writer])
        kind, _ = self.ours.index()
        return [
            *checks,
            Check("no answer was wrong on the way", "; ".join(self.wrong[:5])),
            Check("the index is no longer exact", "it is still exact" if kind == "exact" else ""),
        ]

    def _beats(self, rate: float) -> Iterator[None]:
        """Once for each operation that is due, until the end."""
        due = time.monotonic()
        while not self._over.wait(max(0.0, due - time.monotonic())):
            yield
            due = max(due + 1 / rate, time.monotonic() - 1)

    def _write(self) -> None:
        source = random.Random(0)
        for _ in self._beats(WRITES):
            if source.random() < 0.02:
                answer = self._judged(partial(self.ours.ask, *source.choice(nonsense())))
                if answer is not None and answer[0] >= 500:
                    self.wrong.append(f"nonsense was answered by {answer[0]}")
            else:
                self.writer.step()

    def _search(self, seed: int) -> None:
        source, words = random.Random(seed), captions(seed=100 + seed)
        for _ in self._beats(SEARCHES / SEARCHERS):
            gone = self.ledger.deleted()
            started = time.monotonic()
            answer = self._judged(partial(self._one_search, source, next(words)))
            if answer is not None:
                self.searches.append((started, time.monotonic() - started))
                if ghosts := set(answer) & gone:
                    self.wrong.append(f"a search found {sorted(ghosts)}, which were deleted")

    def _one_search(self, source: random.Random, words: str) -> list[str] | None:
        """Item ids found in one of the ways; None where the item to resemble is gone."""
        category = f"category {source.randrange(CATEGORIES)}"
        known = f"soak-{source.randint(1, self.readings.items)}"
        ways: dict[str, tuple[Any, ...]] = {
            "text": ("POST", "/search_text/", json.dumps({"query_text": words}).encode()),
            "filtered": ("GET", f"/api/v1/search/?{urlencode({'q': words, 'category': category})}"),
            "picture": ("POST", "/search_image/", *picture_form("query.jpg", self.picture)),
            "similar": ("GET", f"/api/v1/items/{known}/similar/"),
            "page": ("GET", f"/?q={quote(words)}"),
        }
        (way,) = source.choices(tuple(ways), (5, 2, 1, 1, 1))
        status, content = self.ours.ask(*ways[way])
        if way == "similar" and status in {404, 409}:
            return None
        if status != 200:
            raise BenchmarkError(f"{way} answered {status}: {content[:200]!r}")
        results = [] if way == "page" else json.loads(content)["results"]
        if way == "filtered" and {result["category"] for result in results} - {category}:
            raise BenchmarkError(f"{words!r} in {category!r} found another category")
        return [result["item_id"] for result in results]

    def _judged(self, ask: Callable[[], T]) -> T | None:
        """The answer; None where there was none, which only an outage excuses."""
        started = time.monotonic()
        try:
            return ask()
        except (OSError, BenchmarkError) as exc:
            time.sleep(0.2)  # the outage's end is known a moment later
            if any(o.began < time.monotonic() and started < o.ended for o in self.outages):
                self.readings.excused += 1
            else:
                self.wrong.append(repr(exc))
            return None

    def _restart(self) -> None:
        """End a process now and then; the supervisor starts it again.

        In the first half alone: a leak needs the other one, undisturbed, to show.
        """
        pause = max(20.0, self.seconds / 16)
        for what, role, place, signum in cycle(ENDS):
            if self._over.wait(pause) or self._elapsed() > self.seconds / 2 + pause / 2:
                return
            processes = self.ours.roles()[role]
            if not processes:
                self.wrong.append(f"there was no {role} process")
                continue
            outage = Outage(time.monotonic())
            if role == "web":
                self.outages.append(outage)
            self.readings.restarts.append((self._elapsed() / 60, what))
            with contextlib.suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
                processes[place].send_signal(signum)
                processes[place].wait(0 if place else 60)
            self.ours.wait(self.ours.is_ready, f"a new start after {what!r}", patience=120)
            self.ours.wait(partial(self._runs, role), f"a new {role}")
            outage.ended = time.monotonic() + 1
            self.generation[role] += 1
            self.settled_at[role] = self._elapsed() + min(60.0, pause / 3)

    def _runs(self, role: str) -> bool:
        return bool(self.ours.roles()[role])

    def _sample(self) -> None:
        for _ in self._beats(1 / max(1.0, self.seconds / 360)):
            with contextlib.suppress(OSError, BenchmarkError, psutil.Error):
                self._read()

    def _read(self) -> None:
        elapsed = self._elapsed()
        delta = self.ours.index()[1]
        for role, processes in self.ours.roles().items():
            if role == "supervisor" or elapsed < self.settled_at[role] or not processes:
                continue
            generation = self.generation[role]
            files = sum(process.num_fds() for process in processes)
            held = delta * VECTOR_MB if role == "web" else 0.0
            self._point(f"{role} memory", anonymous_mb(processes) - held, generation)
            self._point(f"{role} files", files, generation)
        self._point("queue", self.ours.rows(WAITING)[0][0])
        self._point("log", self.ours.log_length())
        self._point("disk", disk_mb(self.ours.folder))
        self._point("delta", delta)

    def _point(self, name: str, value: float, generation: int = 0) -> None:
        self.readings.points[name].append((self._elapsed() / 60, value, generation))

    def _percentiles(self) -> None:
        """P99 of each window; searches beside a new start of the web server do not count."""
        length = max(5.0, min(60.0, self.seconds / 20))
        windows: dict[int, list[float]] = {}
        for asked, took in self.searches:
            if not any(o.began - took < asked < o.ended for o in self.outages):
                windows.setdefault(int((asked - self.began) / length), []).append(took)
        self.readings.points["search p99"] = [
            ((window + 0.5) * length / 60, percentile(durations, 0.99) * 1000, 0)
            for window, durations in sorted(windows.items())
            if len(durations) >= 20
        ]

    def _elapsed(self) -> float:
        return time.monotonic() - self.began


def disk_mb(folder: Path) -> float:
    """What the data folder takes, without models, which do not change, and logs."""
    total = 0
    for parent, folders, files in os.walk(folder):
        if "models" in folders:
            folders.remove("models")
        for name in files:
            with contextlib.suppress(FileNotFoundError):
                if not name.endswith(".log"):
                    total += (Path(parent) / name).stat().st_blocks * 512
    return total / 2**20


def run_soak(*, minutes: float, items: int, output: Path, say: Callable[[str], None]) -> bool:
    """Run, write the report and its plots into `output`; whether all was well."""
    settings = {}
    if items <= 2 * EXACT_ROWS:  # a small catalogue would never see another index
        settings["MMSEARCH_INDEX_EXACT_ROWS"] = str(items // 4)
    with (
        tempfile.TemporaryDirectory(prefix="mmsearch-soak-") as folder,
        Ours(Path(folder) / "data", **settings) as ours,
    ):
        soak = Soak(ours, minutes=minutes, items=items)
        checks = soak.run(say)
        if any(check.wrong for check in checks):
            say(ours.tail())
    growing = write_soak_report(soak.readings, checks, output)
    failed = [f"{check.what}: {check.wrong}" for check in checks if check.wrong]
    failed += [f"{name} grows" for name in growing]
    for line in failed:
        say(f"NOT WELL: {line}")
    say(f"Written: {output / 'SOAK_REPORT.md'}")
    return not failed
