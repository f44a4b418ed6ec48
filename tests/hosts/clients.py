"""Who uses two hosts: those who send items and keep a list of what was accepted, and searchers."""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final, Self
from urllib.parse import urlsplit

from benchmarks.load import picture_form
from benchmarks.material import captions, small_picture, with_comment
from benchmarks.servers import NDJSON, Answer, Ours

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
        self.statuses: Counter[int] = Counter()
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
        status, body = _answer(self._host, "POST", "/api/v1/items/bulk/", lines, NDJSON)
        self.statuses[status] += 1
        if status != 200:
            return False
        outcomes = [json.loads(line)["outcome"] for line in body.splitlines()]
        kept = [each for each in outcomes if each in {"new", "unchanged"}]
        return len(kept) == len(batch)


class Painter:
    """Sends pictures to one host, each until it is accepted, and looks at them on another."""

    def __init__(self, host: Ours, other: Ours, name: str, *, pause: float) -> None:
        """`pause`: seconds after each picture."""
        self.accepted: dict[str, bytes] = {}
        """Pictures by item id."""
        self.statuses: Counter[int] = Counter()
        """Of sending and of looking."""
        self._host, self._other = host, other
        self._name, self._pause = name, pause

    def __call__(self, over: threading.Event) -> None:
        picture = small_picture()
        for number in itertools.count():
            item_id = f"{self._name}-{number}"
            sent = with_comment(picture, item_id)  # no two are equal
            while not self._send(item_id, sent):
                if over.wait(0.2):
                    return
            self.accepted[item_id] = sent
            self.statuses[self._look(item_id)[0]] += 1
            if over.wait(self._pause):
                return

    def lost(self) -> list[str]:
        """What the other host does not show as it was sent."""
        shown = {item_id: self._look(item_id) for item_id in self.accepted}
        lost = [
            f"{item_id}: {shown[item_id][0]}"
            for item_id, sent in self.accepted.items()
            if shown[item_id] != (200, sent)
        ]
        return [f"{len(lost)} pictures are lost: {lost[:3]}"] if lost else []

    def _send(self, item_id: str, picture: bytes) -> bool:
        form, kind = picture_form(f"{item_id}.jpg", picture, item_id=item_id)
        status, _ = _answer(self._host, "POST", "/ingest_stream/", form, kind)
        self.statuses[status] += 1
        return status == 200

    def _look(self, item_id: str) -> tuple[int, bytes]:
        status, item = _answer(self._other, "GET", f"/api/v1/items/{item_id}/")
        if status != 200:
            return status, item
        return _answer(self._other, "GET", urlsplit(json.loads(item)["image_url"]).path)


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
        status, answer = _answer(host, "POST", "/search_text/", body)
        self.statuses[status] += 1
        if status == 200:
            self.durations.append(time.perf_counter() - started)
            return
        if status:
            self.reasons.add(answer.decode(errors="replace")[:200])
        time.sleep(0.05)


def total(clients: Iterable[Searcher | Painter]) -> dict[int, int]:
    """How often each status came."""
    return dict(sum((client.statuses for client in clients), start=Counter[int]()))


def _answer(host: Ours, *request: Any) -> Answer:
    """Status and body; GONE where there is no answer."""
    try:
        return host.ask(*request)
    except OSError:
        return GONE, b""


def _queries(seed: int) -> Iterator[str]:
    """Few words of captions: as people ask."""
    source = random.Random(seed)
    for text in captions(10_000 + seed):
        words = text.split()
        yield " ".join(source.sample(words, min(3, len(words))))
