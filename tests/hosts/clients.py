"""Who uses two hosts: loaders that keep a list of what was accepted, and searchers."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, Self

from benchmarks.material import captions
from benchmarks.servers import BenchmarkError, Ours

BULK: Final = 200
"""Items a request."""
GONE: Final = 0
"""In place of a status: nobody listened, or the answer was cut off."""


class Crowd:
    """Threads that go on until the end of the block."""

    def __init__(self, *works: Callable[[threading.Event], None]) -> None:
        self._over = threading.Event()
        self._threads = [threading.Thread(target=work, args=[self._over]) for work in works]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.wait()

    def wait(self) -> None:
        """Wait until all have ended by themselves."""
        for thread in self._threads:
            thread.join()


class Loader:
    """Sends items to one host, each batch until it is accepted."""

    def __init__(
        self, host: Ours, name: str, count: int | None, *, seed: int, pause: float = 0.0
    ) -> None:
        """Without `count` it goes on for ever. `pause`: seconds after each batch."""
        self.accepted: dict[str, str] = {}
        """Captions by item id."""
        self.refusals: Counter[int] = Counter()
        self._host = host
        self._pause = pause
        texts = enumerate(islice(captions(seed), count))
        self._records = ({"item_id": f"{name}-{n}", "caption": text} for n, text in texts)

    def __call__(self, over: threading.Event) -> None:
        while not over.is_set() and (batch := list(islice(self._records, BULK))):
            while not self._send(batch):
                if over.is_set():
                    return
                time.sleep(0.2)
            self.accepted |= {record["item_id"]: record["caption"] for record in batch}
            over.wait(self._pause)

    def _send(self, batch: list[dict[str, str]]) -> bool:
        lines = b"".join(json.dumps(record).encode() + b"\n" for record in batch)
        try:
            status, body = self._host.ask(
                "POST", "/api/v1/items/bulk/", lines, "application/x-ndjson"
            )
        except OSError:
            status, body = GONE, b""
        if status != 200:
            self.refusals[status] += 1
            return False
        outcomes = [json.loads(line)["outcome"] for line in body.splitlines()]
        kept = [each for each in outcomes if each in {"new", "unchanged"}]
        return len(kept) == len(batch)


class Searcher:
    """Asks one host after another, and takes down what became of it."""

    def __init__(self, hosts: Callable[[], list[Ours]], *, seed: int) -> None:
        self.statuses: Counter[int] = Counter()
        self.durations: list[float] = []
        """Seconds, of those answered."""
        self.reasons: set[str] = set()
        """What refusals said."""
        self._hosts = hosts
        self._turns = itertools.count(seed)
        self._words = _queries(seed)

    def __call__(self, over: threading.Event) -> None:
        while not over.is_set():
            hosts = self._hosts()
            self.ask(hosts[next(self._turns) % len(hosts)])

    def ask(self, host: Ours) -> None:
        body = json.dumps({"query_text": next(self._words), "top_n": 10}).encode()
        started = time.perf_counter()
        try:
            status, answer = host.ask("POST", "/search_text/", body)
        except (OSError, BenchmarkError):
            status, answer = GONE, b""
            time.sleep(0.05)
        self.statuses[status] += 1
        if status == 200:
            self.durations.append(time.perf_counter() - started)
        elif status:
            self.reasons.add(answer.decode(errors="replace")[:200])
            time.sleep(0.05)


def _queries(seed: int) -> Iterator[str]:
    """Few words of captions: as people ask."""
    source = random.Random(seed)
    for text in captions(10_000 + seed):
        words = text.split()
        yield " ".join(source.sample(words, min(3, len(words))))
