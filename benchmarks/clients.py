"""A client that remembers: what it sent, what was accepted, and whether the server kept it."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from benchmarks.load import picture_form
from benchmarks.material import captions, with_comment
from benchmarks.servers import BenchmarkError, Ours

CATEGORIES: Final = 10
CHANGING: Final = 500
"""Items that come and go: about so many are there after some minutes, so that a catalogue in use
for an hour is as large, and has as many pictures, at its end as in its middle."""
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
        self._number = self._loaded = 0

    def step(self) -> None:
        """One operation; the more items come and go, the rarer is adding. Raises OSError."""
        changing = len(self.live) - self._loaded
        adding = max(0.0, 1 - changing / (2 * CHANGING))
        (operation,) = self._random.choices(
            (self.add, self.delete, self.edit), (8 * adding, 8 * (1 - adding), 2)
        )
        operation()

    def load(self, count: int) -> None:
        """Add so many by bulk; they are edited, and stay."""
        self._loaded += count
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
        if len(self.live) > self._loaded:
            item_id = self._random.choice(list(self.live)[self._loaded :])
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
