"""Whether the invariants hold, by what a user can see."""

from __future__ import annotations

import dataclasses
import re
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote, urlencode

from benchmarks.clients import CATEGORIES, Ledger, Writer, nonsense
from benchmarks.material import captions
from benchmarks.servers import BenchmarkError, Ours

SAMPLE: Final = 40
"""Items or queries that a check looks at where looking at all would take minutes."""
FRESH: Final = 1.0
"""Seconds from `indexed` to being found."""


@dataclasses.dataclass(frozen=True)
class Check:
    """What was looked at, and what was found wrong; nothing, where all is well."""

    what: str
    wrong: str = ""


def verify(ours: Ours, ledger: Ledger, writers: Iterable[Writer]) -> list[Check]:
    """Whether the invariants hold, by what a user can see. Nothing may be sent meanwhile."""
    writers = list(writers)
    lists = [list(writer.live.values())[: SAMPLE // 4] for writer in writers]
    queries = [words for texts in lists for words in texts]
    ours.wait_idle()
    return [
        Check("I1: every accepted item is there once, as it was sent last", _kept(ours, ledger)),
        Check("I2: check_index finds index and database equal", _agrees(ours)),
        Check("I3: deleted items are not found", _gone(ours, writers)),
        Check("I3: nothing outside the filter is found", _filtered(ours, queries)),
        Check("I5: an indexed item is found within a second", _fresh(ours)),
        Check("I6: a request of nonsense is refused, and the next one answered", _robust(ours)),
        Check("I7: page, /search_text/ and API give the same order", _alike(ours, queries)),
    ]


def _kept(ours: Ours, ledger: Ledger) -> str:
    items: list[dict[str, Any]] = []
    page, more = 0, True
    while more:
        page += 1
        answer = ours.get(f"/api/v1/items/?page_size=200&ordering=item_id&page={page}")
        items += answer["results"]
        more = bool(answer["next"])
    found = {item["item_id"]: item["caption"] for item in items}
    may = ledger.possible
    there = found.keys() & may.keys()
    troubles = {
        "twice": [key for key, count in Counter(i["item_id"] for i in items).items() if count > 1],
        "lost": [key for key in may.keys() - found.keys() if None not in may[key]],
        "deleted but there": [key for key in there if may[key] == {None}],
        "with another caption": [
            key for key in there if may[key] != {None} and found[key] not in may[key]
        ],
        "never sent": [*(found.keys() - may.keys())],
        "failed without a reason": [
            i["item_id"] for i in items if i["state"] == "failed" and not i["error"]
        ],
        "neither indexed nor failed": [
            i["item_id"] for i in items if i["state"] not in {"indexed", "failed"}
        ],
    }
    return "; ".join(
        f"{len(ids)} {what} ({', '.join(ids[:3])})" for what, ids in troubles.items() if ids
    )


def _agrees(ours: Ours) -> str:
    try:
        ours.manage("check_index")
    except BenchmarkError as exc:
        return str(exc)
    return ""


def _gone(ours: Ours, writers: list[Writer]) -> str:
    for writer in writers:
        for words in list(writer.last_words.values())[-SAMPLE:]:
            if ghosts := set(ours.found(words, 50)) & set(writer.last_words):
                return f"{words!r} finds {sorted(ghosts)}"
    return ""


def _filtered(ours: Ours, queries: list[str]) -> str:
    for words in queries:
        for number in range(0, CATEGORIES, 3):
            asked = {"q": words, "category": f"category {number}", "top_n": 20}
            results = ours.get(f"/api/v1/search/?{urlencode(asked)}")["results"]
            if {result["category"] for result in results} - {asked["category"]}:
                return f"{words!r} in {asked['category']!r} finds items of other categories"
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


def _alike(ours: Ours, queries: list[str]) -> str:
    for words in queries:
        original = ours.found(words, 10)  # the nearest, which the others give on request
        answer = ours.get(f"/api/v1/search/?{urlencode({'q': words, 'top_n': 10, 'all': 1})}")
        api = [result["item_id"] for result in answer["results"]]
        page = ours.ask("GET", f"/?q={quote(words)}&all=1")[1].decode()
        shown = list(dict.fromkeys(re.findall(r'href="/items/([^/"]+)/', page)))[:10]
        if not original == api == shown:
            return f"{words!r} finds {original}, {api}, {shown}"
    return ""
