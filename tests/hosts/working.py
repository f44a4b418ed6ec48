"""Whether two hosts work as one: loading, searching, finding and deleting on both at once."""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from typing import Final
from urllib.parse import urlsplit

from benchmarks.load import picture_form
from benchmarks.material import captions, small_picture
from benchmarks.servers import BenchmarkError, Ours
from tests.hosts.clients import Crowd, Loader, Searcher, total
from tests.hosts.pair import Pair

SEARCHERS: Final = 8
FRESH: Final = 10
"""Items that are looked for on the other host, and deleted there."""
SIZES: Final = """
SELECT CASE WHEN relname = 'embeddings_embedding' THEN 'vectors'
            WHEN relname LIKE 'mmsearch%' THEN 'pgvector'
            WHEN relname LIKE 'catalog_%' THEN 'items and words' ELSE 'the rest' END AS what,
       sum(pg_total_relation_size(oid))::bigint
FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace GROUP BY what
"""
"""Bytes of tables with their indexes."""


@dataclasses.dataclass(frozen=True)
class Work:
    """What two hosts did."""

    items: int
    seconds: float
    """From the first item sent to the last embedded."""
    split: tuple[int, int]
    """Items that each host embedded."""
    statuses: dict[int, int]
    """Of searches while items were loaded."""
    p50_loading_ms: float
    slowest_found_s: float
    """On the other host, from the moment that an item counts as indexed."""
    bytes_an_item: dict[str, int]
    """What the tables of each kind take in the database, with their indexes."""
    wrong: list[str]

    @property
    def least_share(self) -> float:
        return min(self.split) / sum(self.split)


def work(pair: Pair, items: int) -> Work:
    """Load from both sides while clients search; then look whether both hosts know everything."""
    first, second = pair.hosts
    before = [pair.embedded_by(host) for host in pair.hosts]
    loaders = [
        Loader(host, name, items // 2, seed=seed)
        for seed, (host, name) in enumerate(zip(pair.hosts, "ab", strict=True))
    ]
    searchers = [Searcher(lambda: pair.hosts, seed=n) for n in range(SEARCHERS)]
    started = time.perf_counter()
    with Crowd(*searchers):
        Crowd(*loaders).__enter__().wait()
        ended = first.wait(lambda: _pending(first) == 0, "an empty queue", poll=0.5)
    split = [pair.embedded_by(host) - n for host, n in zip(pair.hosts, before, strict=True)]
    wrong = [f"{sum(s.statuses.values())} {s.reasons}" for s in searchers if s.reasons]
    wrong += missing(pair, loaders)
    slowest, ghosts = _fresh(first, second)
    durations = [duration for searcher in searchers for duration in searcher.durations]
    sizes = first.rows(SIZES)
    return Work(
        items=items,
        seconds=ended - started,
        split=(split[0], split[1]),
        statuses=total(searchers),
        p50_loading_ms=1000 * statistics.median(durations),
        slowest_found_s=slowest,
        bytes_an_item={what: size // pair.count("*", "catalog_item") for what, size in sizes},
        wrong=wrong + ghosts + _picture(first, second),
    )


def missing(pair: Pair, loaders: list[Loader]) -> list[str]:
    """What is not as it was accepted, or not the same to both hosts."""
    wrong = []
    accepted = {key: text for loader in loaders for key, text in loader.accepted.items()}
    rows = dict(pair.hosts[0].rows("SELECT item_id, caption FROM catalog_item"))
    ours = {key: text for key, text in rows.items() if key.partition("-")[0] in _names(loaders)}
    if lost := accepted.items() - ours.items():
        wrong.append(f"{len(lost)} items are lost: {sorted(lost)[:3]}")
    if pair.count("*", "catalog_item") != pair.count("DISTINCT item_id", "catalog_item"):
        wrong.append("items are there twice")
    vectors = pair.count("*", "embeddings_embedding"), pair.count("*", "catalog_item")
    if vectors[0] != vectors[1]:
        wrong.append(f"{vectors[0]} vectors of {vectors[1]} items")
    for host in pair.hosts:
        try:
            host.manage("check_index")
        except BenchmarkError as exc:
            wrong.append(str(exc))
    return wrong


def median_ms(hosts: list[Ours], seconds: float) -> float:
    """Median of a search while so many clients as ever ask these hosts and nothing else happens."""
    searchers = [Searcher(lambda: hosts, seed=100 + n) for n in range(SEARCHERS)]
    with Crowd(*searchers):
        time.sleep(seconds)
    return 1000 * statistics.median(d for searcher in searchers for d in searcher.durations)


def _fresh(first: Ours, second: Ours) -> tuple[float, list[str]]:
    """Seconds until the slowest item was found on the other host; what was found when gone."""
    slowest, ghosts = 0.0, []
    words = captions(seed=77)
    for number in range(FRESH):
        here, there = (first, second) if number % 2 else (second, first)
        text, item_id = next(words), f"fresh-{number}"
        here.post("/api/v1/items/", {"item_id": item_id, "caption": text})
        address = f"/api/v1/items/{item_id}/"
        indexed = here.wait(lambda at=address, h=here: h.get(at)["state"] == "indexed", item_id)  # type: ignore[misc]
        found = there.wait(
            lambda t=text, i=item_id, h=there: i in h.found(t, 50),  # type: ignore[misc]
            f"{item_id} on the other host",
        )
        slowest = max(slowest, found - indexed)
        here.ask("DELETE", address)
        if item_id in there.found(text, 50):
            ghosts.append(f"{item_id} is found after its deletion")
    return slowest, ghosts


def _picture(first: Ours, second: Ours) -> list[str]:
    """A picture that one host took is shown, and found, by the other."""
    body, kind = picture_form("seen.jpg", small_picture(), item_id="seen")
    first.ask("POST", "/ingest_stream/", body, kind)
    first.wait(lambda: first.get("/api/v1/items/seen/")["state"] == "indexed", "a picture")
    address = urlsplit(second.get("/api/v1/items/seen/")["image_url"]).path
    status, shown = second.ask("GET", address)
    form, kind = picture_form("seen.jpg", small_picture(), top_n="1")
    _, answer = second.ask("POST", "/search_image/", form, kind)
    found = [result["item_id"] for result in json.loads(answer)["results"]]
    if (status, bool(shown), found) != (200, True, ["seen"]):
        return [f"the other host shows a picture with {status}, finds {found}"]
    return []


def _pending(host: Ours) -> int:
    return int(host.get("/stats/")["pending"])


def _names(loaders: list[Loader]) -> set[str]:
    return {key.partition("-")[0] for loader in loaders for key in list(loader.accepted)[:1]}
