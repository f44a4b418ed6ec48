"""What Prometheus scrapes at /metrics.

Several web processes (`WEB_CONCURRENCY` above 1) add up their counts in the files of the folder
`PROMETHEUS_MULTIPROC_DIR`, which the server's configuration makes. What comes from database and
index is the same whichever process answers; memory and processor time are those of the one that
does.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from typing import Final

from django.db import DatabaseError
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from embeddings.encoders.base import EncoderError
from embeddings.spaces import SpaceError
from search.operations.stats import SystemStats, system_stats

logger = logging.getLogger(__name__)

REQUESTS: Final = Counter(
    "mmsearch_http_requests", "Requests answered.", ["method", "route", "status"]
)
REQUEST_SECONDS: Final = Histogram(
    "mmsearch_http_request_seconds",
    "Time until the answer began.",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
SEARCH_SECONDS: Final = Histogram(
    "mmsearch_search_stage_seconds",
    "Time a search spent in each stage: encode, index, database.",
    ["stage"],
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5),
)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestMetrics:
    """Middleware: count every request and time it, by route rather than by path."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        response = self.get_response(request)
        elapsed = time.perf_counter() - started
        match = request.resolver_match
        route = f"/{match.route}" if match is not None else "other"
        method = request.method if request.method in _METHODS else "OTHER"
        REQUESTS.labels(method, route, response.status_code).inc()
        REQUEST_SECONDS.labels(method, route).observe(elapsed)
        return response


def observe_search(*, encode_ms: float, index_ms: float, database_ms: float) -> None:
    """Count one search's stages; milliseconds."""
    SEARCH_SECONDS.labels("encode").observe(encode_ms / 1000)
    SEARCH_SECONDS.labels("index").observe(index_ms / 1000)
    SEARCH_SECONDS.labels("database").observe(database_ms / 1000)


def exposition() -> bytes:
    """Every metric, in Prometheus' text format."""
    system = CollectorRegistry()
    system.register(_SystemCollector())
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY) + generate_latest(system)
    ProcessCollector(registry=system)
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    return generate_latest(together) + generate_latest(system)


class _SystemCollector(Collector):
    """What is in the database and the index when scraped."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            stats = system_stats()
        except (SpaceError, EncoderError, DatabaseError) as exc:
            logger.warning("Metrics lack database and index: %s", exc)
            yield GaugeMetricFamily("mmsearch_up", "Whether database and index answer.", value=0)
            return
        yield GaugeMetricFamily("mmsearch_up", "Whether database and index answer.", value=1)
        yield from _system_metrics(stats)


def _system_metrics(stats: SystemStats) -> Iterator[GaugeMetricFamily]:
    items = GaugeMetricFamily("mmsearch_items", "Items by state.", labels=["state"])
    for state in ("indexed", "pending", "failed"):
        items.add_metric([state], getattr(stats.states, state))
    vectors = GaugeMetricFamily("mmsearch_vectors", "Vectors in the index.", labels=["modality"])
    dead = GaugeMetricFamily(
        "mmsearch_index_dead", "Removed vectors that still take space.", labels=["modality"]
    )
    recall = GaugeMetricFamily(
        "mmsearch_index_recall", "Measured recall@10 of the live index.", labels=["modality"]
    )
    for index in stats.indexes:
        vectors.add_metric([index.modality], index.store.count)
        dead.add_metric([index.modality], index.store.dead)
        if index.tuning is not None:
            recall.add_metric([index.modality], index.tuning.recall)
    kept = GaugeMetricFamily(
        "mmsearch_space_items",
        "Items of each space that is kept, by progress.",
        labels=["space", "model", "state", "progress"],
    )
    for each in stats.spaces:
        named = [str(each.space.pk), each.space.model, each.space.state]
        for progress in ("done", "waiting", "failed"):
            kept.add_metric([*named, progress], getattr(each, progress))
    yield from (items, vectors, dead, recall, kept)
