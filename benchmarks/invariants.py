"""Whether the invariants hold, by what a user can see."""

from __future__ import annotations

import dataclasses
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
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


def _alike(ours: Ours, writers: list[Writer]) -> str:
    for words in _queries(writers):
        original = ours.found(words, 10)  # the nearest, which the others give on request
        answer = ours.get(f"/api/v1/search/?{urlencode({'q': words, 'top_n': 10, 'all': 1})}")
        api = [result["item_id"] for result in answer["results"]]
        page = ours.ask("GET", f"/?q={quote(words)}&all=1")[1].decode()
        shown = list(dict.fromkeys(re.findall(r'href="/items/([^/"]+)/', page)))[:10]
        if not original == api == shown:
            return f"{words!r} finds {original}, {api}, {shown}"
    return ""


def _queries(writers: list[Writer]) -> list[str]:
    lists = [list(writer.live.values())[: SAMPLE // 4] for writer in writers]
    return [words for texts in lists for words in texts]
