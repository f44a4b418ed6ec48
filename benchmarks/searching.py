"""Searches over HTTP: by number of clients, beside ingestion, and for an item just embedded."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

from benchmarks.latency import LoadResult, median
from benchmarks.load import text_request
from benchmarks.plan import Plan
from benchmarks.servers import BenchmarkError, Server
from benchmarks.systems import Ours
from benchmarks.usage import Usage

PATH: Final = "/search_text/"
WARM_UP: Final = 20
"""Requests before anything is measured."""
FASTEST: Final = 1500
"""Searches a second that no server here reaches: texts are made for that many."""
CACHED_TEXTS: Final = 50
BESIDE_SECONDS: Final = 2.0
"""A round of searches beside ingestion."""
Row = dict[str, Any]


def measure_search(servers: list[Server], plan: Plan, texts: Iterator[str]) -> Row:
    """Latency, rate, processor and memory by number of clients; rounds of the servers alternate.

    No text is asked twice, so no answer comes from a cache.
    """
    rounds: dict[tuple[str, int], list[Row]] = {}
    for server in servers:
        server.load(PATH, clients=4, texts=list(islice(texts, WARM_UP)))
    for _ in range(plan.rounds):
        for server in servers:
            for clients in plan.clients:
                row = _search(server, clients, plan.search_seconds, texts)
                rounds.setdefault((server.name, clients), []).append(row)
    return {
        server.name: [
            {"clients": clients, **middle(rounds[server.name, clients])} for clients in plan.clients
        ]
        for server in servers
    }


def measure_cached(ours: Server, plan: Plan, texts: Iterator[str]) -> Row:
    """The same few texts again and again: their vectors are remembered."""
    few = list(islice(texts, CACHED_TEXTS))
    ours.load(PATH, clients=4, texts=few)
    repeated = few * int(FASTEST * plan.search_seconds / len(few))
    return ours.load(PATH, clients=1, texts=repeated, seconds=plan.search_seconds).summary()


def measure_while_ingesting(
    ours: Ours, plan: Plan, texts: Iterator[str], pictures: list[Path]
) -> Row:
    """Searches of one client, first alone, then while a folder is ingested and embedded.

    Percentiles are over the requests of all rounds: one round has too few for a P99.
    """
    idle = [_load(ours, plan.search_seconds, texts) for _ in range(plan.rounds)]
    mark = ours.mark()
    folder = str(pictures[0].parent)
    ingest = threading.Thread(target=ours.run, args=("-m", "benchmarks.ingest_batch", folder))
    ingest.start()
    while not ours.embedded(mark):
        time.sleep(0.05)
    busy: list[LoadResult] = []
    while True:
        result = _load(ours, BESIDE_SECONDS, texts)
        if ours.embedded(mark) >= len(pictures):
            break  # the worker fell idle within this round: it does not count
        busy.append(result)
    ingest.join()
    if not busy:
        raise BenchmarkError("Embedding ended before searches beside it were measured.")
    return {"idle": _pooled(idle), "busy": _pooled(busy), "rounds": len(busy)}


def measure_freshness(ours: Ours, plan: Plan, texts: Iterator[str]) -> Row:
    """Seconds from a vector's commit, seen in the database, to a search that returns its item.

    The worker commits, the web process answers: two processes that share only the database.
    """
    connection = http.client.HTTPConnection("127.0.0.1", ours.port, timeout=60)
    delays, ways = [], []
    for number, text in enumerate(islice(texts, plan.fresh)):
        item_id = f"fresh-{number}"
        mark = ours.mark()
        sent = time.perf_counter()
        body = f"text_caption={text.replace(' ', '+')}&item_id={item_id}"
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        _post(connection, "/ingest_stream/", body.encode(), headers)
        committed = ours.wait_embedded(mark, 1, poll=0.002)
        while item_id not in _found(connection, text):
            if time.perf_counter() - committed > 10:
                raise BenchmarkError(f"{item_id!r} was embedded, but is not found by its caption.")
        found = time.perf_counter()
        delays.append(found - committed)
        ways.append(found - sent)
    connection.close()
    return {"median": median(delays), "worst": max(delays), "from_upload": median(ways)}


def _load(ours: Ours, seconds: float, texts: Iterator[str]) -> LoadResult:
    asked = list(islice(texts, int(FASTEST * seconds)))
    return ours.load(PATH, clients=1, texts=asked, seconds=seconds)


def _pooled(results: list[LoadResult]) -> Row:
    """One result of all of them."""
    return LoadResult(
        durations=tuple(chain.from_iterable(result.durations for result in results)),
        elapsed=sum(result.elapsed for result in results),
        errors=sum(result.errors for result in results),
    ).summary()


def _search(server: Server, clients: int, seconds: float, texts: Iterator[str]) -> Row:
    asked = list(islice(texts, int(FASTEST * seconds)))
    usage = Usage(server.processes())
    result = server.load(PATH, clients=clients, texts=asked, seconds=seconds)
    return {**result.summary(), **usage.read()}


def _found(connection: http.client.HTTPConnection, text: str) -> list[str]:
    request = text_request(PATH, text)
    body = request.partition(b"\r\n\r\n")[2]
    answer = _post(connection, PATH, body, {"Content-Type": "application/json"})
    return [result["item_id"] for result in answer["results"]]


def _post(
    connection: http.client.HTTPConnection, path: str, body: bytes, headers: dict[str, str]
) -> Any:
    connection.request("POST", path, body, headers)
    response = connection.getresponse()
    content = response.read()
    if response.status != 200:
        raise BenchmarkError(f"{path} answered {response.status}: {content[:300]!r}")
    return json.loads(content)


def middle(rows: list[Row]) -> Row:
    """The median of every figure."""
    return {name: median([row[name] for row in rows]) for name in rows[0]}
