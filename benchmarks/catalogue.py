"""A client that remembers: what it sent, what was accepted, and whether the server kept it."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from benchmarks.load import picture_form
from benchmarks.material import captions, with_comment
from benchmarks.servers import BenchmarkError, Ours

CATEGORIES: Final = 10
SAMPLE: Final = 40
"""Items or queries that a check looks at where looking at all would take minutes."""
FRESH: Final = 1.0
"""Seconds from `indexed` to being found."""
PATIENCE: Final = 180.0
"""Seconds that a client goes on sending the same."""
FORM: Final = "application/x-www-form-urlencoded"


class Ledger:
    """The captions that each item may have now; None stands for an item that is not there.

    An operation adds a possibility before it is sent and leaves it alone once it was accepted.
    With a `file`, each of these two steps is on disk before it counts. Safe for several threads.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.possible: dict[str, set[str | None]] = {}
        self.accepted_count = 0
        self._lock = threading.Lock()
        self._stream = file.open("a", encoding="utf-8") if file else None

    def sending(self, changes: dict[str, str | None]) -> None:
        with self._lock:
            self._write("sending", changes)
            for item_id, caption in changes.items():
                self.possible.setdefault(item_id, {None}).add(caption)

    def accepted(self, changes: dict[str, str | None]) -> None:
        with self._lock:
            self._write("accepted", changes)
            self.accepted_count += len(changes)
            self.possible |= {item_id: {caption} for item_id, caption in changes.items()}

    def deleted(self) -> set[str]:
        """Items whose deletion was accepted."""
        with self._lock:
            return {item_id for item_id, kept in self.possible.items() if kept == {None}}

    def _write(self, step: str, changes: dict[str, str | None]) -> None:
        if self._stream is not None:
            self._stream.write(json.dumps([step, changes]) + "\n")
            self._stream.flush()
            os.fsync(self._stream.fileno())


class Writer:
    """Adds, edits and deletes items of its own, one request at a time."""

    def __init__(self, ours: Ours, name: str, ledger: Ledger, *, seed: int, picture: bytes) -> None:
        self.name = name
        self.live: dict[str, str] = {}
        """Its items and their captions."""
        self.last_words: dict[str, str] = {}
        """Captions of what it deleted."""
        self._ours = ours
        self._ledger = ledger
        self._picture = picture
        self._random = random.Random(seed)
        self._captions = captions(seed)
        self._number = 0

    def step(self) -> None:
        """One operation; adding and deleting are equally frequent. Raises OSError."""
        (operation,) = self._random.choices((self.add, self.delete, self.edit), (4, 4, 2))
        operation()

    def load(self, count: int) -> None:
        """Add so many by bulk."""
        while count:
            part = min(count, 2000)
            self._bulk(part)
            count -= part

    def add(self) -> None:
        """One item by one of the ways in, or a few by bulk."""
        way = self._random.random()
        if way < 0.1:
            self._bulk(self._random.randint(2, 8))
            return
        item_id, caption = self._new()
        if way < 0.4:
            picture = with_comment(self._picture, item_id)
            fields = {"item_id": item_id, "text_caption": caption, "category": category(item_id)}
            body, kind = picture_form(f"{item_id}.jpg", picture, **fields)
            self._send({item_id: caption}, "POST", "/ingest_stream/", body, kind)
        elif way < 0.7:
            fields = {"item_id": item_id, "text_caption": caption, "category": category(item_id)}
            self._send(
                {item_id: caption}, "POST", "/ingest_stream/", urlencode(fields).encode(), FORM
            )
        else:
            record = {"item_id": item_id, "caption": caption, "category": category(item_id)}
            self._send({item_id: caption}, "POST", "/api/v1/items/", json.dumps(record).encode())

    def edit(self) -> None:
        if self.live:
            item_id = self._random.choice(list(self.live))
            caption = next(self._captions)
            body = json.dumps({"caption": caption}).encode()
            self._send({item_id: caption}, "PATCH", f"/api/v1/items/{item_id}/", body)

    def delete(self) -> None:
        if self.live:
            item_id = self._random.choice(list(self.live))
            self._send({item_id: None}, "DELETE", f"/api/v1/items/{item_id}/")

    def _new(self) -> tuple[str, str]:
        self._number += 1
        return f"{self.name}-{self._number}", next(self._captions)

    def _bulk(self, count: int) -> None:
        items: dict[str, str | None] = dict(self._new() for _ in range(count))
        lines = b"".join(
            json.dumps({"item_id": key, "caption": words, "category": category(key)}).encode()
            + b"\n"
            for key, words in items.items()
        )
        self._send(items, "POST", "/api/v1/items/bulk/", lines, "application/x-ndjson")

    def _send(
        self, changes: dict[str, str | None], method: str, path: str, *body: bytes | str
    ) -> None:
        """Send until accepted. A client that retries makes no duplicate. Raises BenchmarkError."""
        self._ledger.sending(changes)
        repeated, deadline = False, time.monotonic() + PATIENCE
        while not self._taken(changes, method, path, body, repeated=repeated):
            repeated = True
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{method} {path} was not accepted for {PATIENCE:g} s")
            time.sleep(0.1)
        self._ledger.accepted(changes)
        for item_id, caption in changes.items():
            if caption is None:
                self.last_words[item_id] = self.live.pop(item_id)
            else:
                self.live[item_id] = caption

    def _taken(
        self,
        changes: dict[str, str | None],
        method: str,
        path: str,
        body: tuple[Any, ...],
        *,
        repeated: bool,
    ) -> bool:
        """Whether a request was accepted whole; False where it is to be sent again."""
        try:
            status, content = self._ours.ask(method, path, *body)
        except OSError:
            return False
        if status in {429, 502, 503}:
            return False
        gone = method == "DELETE" and status == 404 and repeated
        if status not in {200, 201, 204} and not gone:
            raise BenchmarkError(f"{method} {path} answered {status}: {content[:300]!r}")
        if not path.endswith("/bulk/"):
            return True
        outcomes = [json.loads(line) for line in content.splitlines()]
        if any(outcome["outcome"] == "rejected" for outcome in outcomes):
            raise BenchmarkError(f"bulk rejected what it should take: {content[:300]!r}")
        return {outcome["item_id"] for outcome in outcomes} == set(changes)


def category(item_id: str) -> str:
    """The category that an item is sent with."""
    return f"category {int(item_id.rpartition('-')[2]) % CATEGORIES}"


@dataclasses.dataclass(frozen=True)
class Check:
    """What was looked at, and what was found wrong; nothing, where all is well."""

    what: str
    wrong: str = ""


def verify(ours: Ours, ledger: Ledger, writers: Iterable[Writer]) -> list[Check]:
    """Whether the invariants hold, by what a user can see. Nothing may be sent meanwhile."""
    writers = list(writers)
    ours.wait(lambda: ours.get("/stats/")["pending"] == 0, "an empty queue", poll=0.5)
    checks: list[tuple[str, Callable[[], str]]] = [
        ("I1: every accepted item is there once, as it was sent last", lambda: _kept(ours, ledger)),
        ("I2: check_index finds index and database equal", lambda: _agrees(ours)),
        ("I3: deleted items are not found", lambda: _gone(ours, writers)),
        ("I3: nothing outside the filter is found", lambda: _filtered(ours, writers)),
        ("I5: an indexed item is found within a second", lambda: _fresh(ours)),
        ("I6: a request of nonsense is refused, and the next one answered", lambda: _robust(ours)),
        ("I7: page, /search_text/ and API give the same order", lambda: _alike(ours, writers)),
    ]
    return [Check(what, look()) for what, look in checks]


def _kept(ours: Ours, ledger: Ledger) -> str:
    listed: list[dict[str, Any]] = []
    page = 1
    while True:
        answer = ours.get(f"/api/v1/items/?page_size=200&ordering=item_id&page={page}")
        listed += answer["results"]
        if not answer["next"]:
            break
        page += 1
    found = {item["item_id"]: item["caption"] for item in listed}
    twice = [
        item_id for item_id, count in Counter(i["item_id"] for i in listed).items() if count > 1
    ]
    lost = [key for key, may in ledger.possible.items() if None not in may and key not in found]
    back = [key for key, may in ledger.possible.items() if may == {None} and key in found]
    other = [
        key
        for key, may in ledger.possible.items()
        if key in found and may != {None} and found[key] not in may
    ]
    surplus = [key for key in found if key not in ledger.possible]
    states = Counter(item["state"] for item in listed)
    silent = [i["item_id"] for i in listed if i["state"] == "failed" and not i["error"]]
    troubles = {
        "twice": twice,
        "lost": lost,
        "deleted but there": back,
        "with another caption": other,
        "never sent": surplus,
        "failed without a reason": silent,
    }
    wrong = [f"{len(ids)} {what} ({', '.join(ids[:3])})" for what, ids in troubles.items() if ids]
    if set(states) - {"indexed", "failed"}:
        wrong.append(f"states {dict(states)}")
    return "; ".join(wrong)


def _agrees(ours: Ours) -> str:
    try:
        ours.manage("check_index")
    except BenchmarkError as exc:
        return str(exc)
    return ""


def _gone(ours: Ours, writers: list[Writer]) -> str:
    for writer in writers:
        for words in list(writer.last_words.values())[-SAMPLE:]:
            ghosts = set(ours.found(words, 50)) & set(writer.last_words)
            if ghosts:
                return f"{words!r} finds {sorted(ghosts)}"
    return ""


def _filtered(ours: Ours, writers: list[Writer]) -> str:
    for words in _queries(writers):
        for number in range(0, CATEGORIES, 3):
            wanted = f"category {number}"
            answer = ours.get(
                f"/api/v1/search/?{urlencode({'q': words, 'category': wanted, 'top_n': 20})}"
            )
            if {result["category"] for result in answer["results"]} - {wanted}:
                return f"{words!r} in {wanted!r} finds items of other categories"
    return ""


def _fresh(ours: Ours) -> str:
    words = captions(seed=time.monotonic_ns())
    worst = 0.0
    for number in range(SAMPLE // 4):
        caption, item_id = next(words), f"fresh-{time.monotonic_ns():x}-{number}"
        ours.post("/api/v1/items/", {"item_id": item_id, "caption": caption})
        address = f"/api/v1/items/{item_id}/"
        indexed = ours.wait(lambda at=address: ours.get(at)["state"] == "indexed", item_id)  # type: ignore[misc]
        while item_id not in ours.found(caption, 50):
            if time.perf_counter() - indexed > 10:
                return f"{item_id} is indexed, but was not found within ten seconds"
        worst = max(worst, time.perf_counter() - indexed)
        ours.ask("DELETE", address)
    return f"the slowest took {worst:.2f} s" if worst > FRESH else ""


def _robust(ours: Ours) -> str:
    for method, path, body, kind in nonsense():
        status, _ = ours.ask(method, path, body, kind)
        if status >= 500:
            return f"{method} {path} with {body[:40]!r} answered {status}"
    return "" if ours.is_ready() else "/readyz does not answer 200"


def nonsense() -> list[tuple[str, str, bytes, str]]:
    """Requests that no well-meaning client sends; no answer to them may be a 5xx."""
    torn, multipart = picture_form("torn.jpg", b"\xff\xd8\xff\xe0 torn", item_id="nonsense-1")
    return [
        ("POST", "/search_text/", b'{"query_text": ', "application/json"),
        ("POST", "/search_text/", b'{"query_text": [1], "top_n": -5}', "application/json"),
        ("POST", "/ingest_stream/", torn, multipart),
        ("POST", "/search_image/", torn[:-20], multipart),
        ("POST", "/api/v1/items/bulk/", b'{"item_id": 1}\n\xff\xfe\n[]\n', "application/x-ndjson"),
        ("PUT", "/api/v1/items/nonsense-2/", b"\x00" * 100, "application/json"),
    ]


def _alike(ours: Ours, writers: list[Writer]) -> str:
    for words in _queries(writers):
        original = ours.found(words, 10)
        answer = ours.get(f"/api/v1/search/?{urlencode({'q': words, 'top_n': 10})}")
        api = [result["item_id"] for result in answer["results"]]
        page = ours.ask("GET", f"/?q={quote(words)}")[1].decode()
        shown = list(dict.fromkeys(re.findall(r'href="/items/([^/"]+)/', page)))[:10]
        if not original == api == shown:
            return f"{words!r} finds {original}, {api}, {shown}"
    return ""


def _queries(writers: list[Writer]) -> list[str]:
    lists = [list(writer.live.values())[: SAMPLE // 4] for writer in writers]
    return [words for texts in lists for words in texts]
