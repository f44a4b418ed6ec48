"""A client that remembers: what it sent, what was accepted, and whether the server kept it."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from benchmarks.load import picture_form
from benchmarks.material import captions, small_picture, with_comment
from benchmarks.servers import JSON, NDJSON, BenchmarkError, Ours

CATEGORIES: Final = 10
CHANGING: Final = 500
"""Items that come and go: about so many are there after some minutes, so that a catalogue in use
for an hour is as large, and has as many pictures, at its end as in its middle."""
PATIENCE: Final = 180.0
"""Seconds that a client goes on sending the same."""
FORM: Final = "application/x-www-form-urlencoded"
Changes = Mapping[str, str | None]
"""New captions by item id; None where the item is deleted."""


class Ledger:
    """The captions that each item may have now; None stands for an item that is not there.

    An operation adds a possibility before it is sent and leaves it alone once it was accepted.
    Safe for several threads.
    """

    def __init__(self) -> None:
        self.possible: dict[str, set[str | None]] = {}
        self.accepted_count = 0
        self._lock = threading.Lock()

    def sending(self, changes: Changes) -> None:
        with self._lock:
            for item_id, caption in changes.items():
                self.possible.setdefault(item_id, {None}).add(caption)

    def accepted(self, changes: Changes) -> None:
        with self._lock:
            self.accepted_count += len(changes)
            self.possible |= {item_id: {caption} for item_id, caption in changes.items()}

    def deleted(self) -> set[str]:
        """Items whose deletion was accepted."""
        with self._lock:
            return {item_id for item_id, kept in self.possible.items() if kept == {None}}


class Writer:
    """Adds, edits and deletes items of its own, one request at a time."""

    def __init__(self, ours: Ours, name: str, ledger: Ledger, *, seed: int) -> None:
        self.live: dict[str, str] = {}
        """Its items and their captions."""
        self.last_words: dict[str, str] = {}
        """Captions of what it deleted."""
        self._ours = ours
        self._name = name
        self._ledger = ledger
        self._picture = small_picture()
        self._random = random.Random(seed)
        self._captions = captions(seed)
        self._number = self._loaded = 0

    def step(self) -> None:
        """One operation; the more items come and go, the rarer is adding. Raises BenchmarkError."""
        adding = max(0.0, 1 - (len(self.live) - self._loaded) / (2 * CHANGING))
        (operation,) = self._random.choices(
            (self.add, self.delete, self.edit), (8 * adding, 8 * (1 - adding), 2)
        )
        operation()

    def load(self, count: int) -> None:
        """Add so many by bulk; they are edited, and stay."""
        self._loaded += count
        for start in range(0, count, 2000):
            self._bulk(min(count - start, 2000))

    def add(self) -> None:
        """One item by one of the ways in, or a few by bulk."""
        (way,) = self._random.choices(("bulk", "picture", "form", "JSON"), (1, 3, 3, 3))
        if way == "bulk":
            self._bulk(self._random.randint(2, 8))
            return
        item_id, caption = self._new()
        fields = {"item_id": item_id, "text_caption": caption, "category": category(item_id)}
        path, body, kind = "/ingest_stream/", urlencode(fields).encode(), FORM
        if way == "picture":
            picture = with_comment(self._picture, item_id)
            body, kind = picture_form(f"{item_id}.jpg", picture, **fields)
        elif way == "JSON":
            path, body, kind = "/api/v1/items/", _record(item_id, caption), JSON
        self._send({item_id: caption}, "POST", path, body, kind)

    def edit(self) -> None:
        if self.live:
            item_id, caption = self._random.choice(list(self.live)), next(self._captions)
            body = json.dumps({"caption": caption}).encode()
            self._send({item_id: caption}, "PATCH", f"/api/v1/items/{item_id}/", body)

    def delete(self) -> None:
        if len(self.live) > self._loaded:
            item_id = self._random.choice(list(self.live)[self._loaded :])
            self._send({item_id: None}, "DELETE", f"/api/v1/items/{item_id}/")

    def _new(self) -> tuple[str, str]:
        self._number += 1
        return f"{self._name}-{self._number}", next(self._captions)

    def _bulk(self, count: int) -> None:
        items = dict(self._new() for _ in range(count))
        lines = b"\n".join(_record(*item) for item in items.items())
        self._send(items, "POST", "/api/v1/items/bulk/", lines, NDJSON)

    def _send(
        self, changes: Changes, method: str, path: str, body: bytes | None = None, kind: str = JSON
    ) -> None:
        """Send until accepted. A client that retries makes no duplicate. Raises BenchmarkError."""
        self._ledger.sending(changes)
        accepted, deadline = {200, 201, 204}, time.monotonic() + PATIENCE
        while not self._taken(changes, accepted, method, path, body, kind):
            if method == "DELETE":
                accepted |= {404}  # it may have been done, and the answer lost
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
        self, changes: Changes, accepted: set[int], method: str, path: str, *body: Any
    ) -> bool:
        """Whether a request was accepted whole; False where it is to be sent again."""
        try:
            status, content = self._ours.ask(method, path, *body)
        except OSError:
            return False
        if status in {429, 502, 503}:
            return False
        if status not in accepted or b'"rejected"' in content:
            raise BenchmarkError(f"{method} {path} answered {status}: {content[:300]!r}")
        if not path.endswith("/bulk/"):
            return True
        return {json.loads(line)["item_id"] for line in content.splitlines()} == changes.keys()


def category(item_id: str) -> str:
    """The category that an item is sent with."""
    return f"category {int(item_id.rpartition('-')[2]) % CATEGORIES}"


def _record(item_id: str, caption: str) -> bytes:
    record = {"item_id": item_id, "caption": caption, "category": category(item_id)}
    return json.dumps(record).encode()


def nonsense() -> list[tuple[str, str, bytes, str]]:
    """Requests that no well-meaning client sends; no answer to them may be a 5xx."""
    torn, multipart = picture_form("torn.jpg", b"\xff\xd8\xff\xe0 torn", item_id="nonsense-1")
    return [
        ("POST", "/search_text/", b'{"query_text": ', JSON),
        ("POST", "/search_text/", b'{"query_text": [1], "top_n": -5}', JSON),
        ("POST", "/ingest_stream/", torn, multipart),
        ("POST", "/search_image/", torn[:-20], multipart),
        ("POST", "/api/v1/items/bulk/", b'{"item_id": 1}\n\xff\xfe\n[]\n', NDJSON),
        ("PUT", "/api/v1/items/nonsense-2/", b"\x00" * 100, JSON),
    ]
