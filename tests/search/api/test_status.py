"""/healthz, /readyz and /metrics."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from catalog.models import Item
from embeddings import per_space
from embeddings.encoders.base import Modality
from embeddings.models import EmbeddingSpace
from embeddings.opening import open_space
from search.index import space_index
from search.index.stores.base import Ids, Vectors
from search.operations import health


def test_healthz_asks_no_database(client: Client) -> None:
    # Without the `db` fixture a query is an error.
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_readyz_is_ready_with_database_model_and_index(
    client: Client, indexed_items: dict[str, Item]
) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {
        "ready": True,
        "parts": {"database": "ok", "model": "ok", "index": "ok"},
    }


@pytest.mark.django_db
def test_readyz_names_the_part_that_waits(client: Client) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 503
    body = answer.json()
    assert (body["ready"], body["parts"]["database"], body["parts"]["model"]) == (False, "ok", "ok")
    assert body["parts"]["index"].startswith("No model is open yet.")


def test_readyz_says_loading_while_another_caller_loads(
    client: Client, space: EmbeddingSpace
) -> None:
    with health._loading:
        answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["parts"] == {"database": "ok", "model": "loading", "index": "ok"}
    assert client.get("/readyz").status_code == 200
    with health._loading:  # what is loaded is not asked for again
        assert client.get("/readyz").status_code == 200


def test_nobody_waits_for_a_long_first_load(
    client: Client, indexed_items: dict[str, Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space_index, "CATCH_UP_WAIT", 0.01)
    told = []
    index = space_index.active_index()
    text = index.replicas[Modality.TEXT]
    upsert = text.upsert

    def upsert_while_others_ask(ids: Ids, vectors: Vectors) -> None:
        told.append(client.get("/readyz"))
        told.append(client.get("/api/v1/search/?q=red"))
        upsert(ids, vectors)

    monkeypatch.setattr(text, "upsert", upsert_while_others_ask)
    index.catch_up()

    loading = "The index is loading: 3 of 4 vectors are read. Ask again in a few seconds."
    assert [answer.status_code for answer in told] == [503, 503]
    assert told[0].json()["parts"]["index"] == loading
    assert told[1].json() == {"detail": loading}
    assert client.get("/readyz").status_code == 200


def test_readyz_names_a_model_that_fails(
    client: Client, space: EmbeddingSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from embeddings.encoders.base import EncoderError

    def fail(*_: object) -> None:
        raise EncoderError("No such model.")

    monkeypatch.setattr(health, "warm_up", fail)
    per_space.reset()
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["parts"]["model"] == "No such model."


def scrape(client: Client) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.content.decode())
        for sample in family.samples
    }


def test_metrics_tell_of_items_vectors_and_process(
    client: Client, indexed_items: dict[str, Item]
) -> None:
    other = open_space("other").space
    assert other is not None
    found = scrape(client)
    assert found["mmsearch_up", frozenset()] == 1
    states = {
        state: found["mmsearch_items", frozenset({("state", state)})]
        for state in ("indexed", "pending", "failed")
    }
    assert states == {"indexed": 4, "pending": 0, "failed": 0}
    assert found["mmsearch_vectors", frozenset({("modality", "image")})] == 3
    assert found["mmsearch_vectors", frozenset({("modality", "text")})] == 1
    beside = {
        "space": str(other.pk),
        "model": "other",
        "state": "building",
        "progress": "waiting",
    }
    assert found["mmsearch_space_items", frozenset(beside.items())] == 4
    assert found["process_resident_memory_bytes", frozenset()] > 0
    assert found["process_cpu_seconds_total", frozenset()] > 0


def count(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0


def test_metrics_count_requests_by_route_and_searches_by_stage(
    client: Client, indexed_items: dict[str, Item]
) -> None:
    route = "/api/v1/items/<item_id:item_id>/"
    name = "mmsearch_http_requests_total"

    def counted() -> list[float]:
        return [
            count(name, method="GET", route=route, status="200"),
            count(name, method="GET", route=route, status="404"),
            count(name, method="OTHER", route="other", status="404"),
            count("mmsearch_http_request_seconds_count", method="GET", route=route),
            count("mmsearch_search_stage_seconds_count", stage="encode"),
        ]

    before = counted()
    for item_id in ("red", "blue", "nobody"):
        client.get(f"/api/v1/items/{item_id}/")
    client.generic("NONSENSE", "/nowhere")
    client.get("/api/v1/search/?q=red")
    assert [now - then for now, then in zip(counted(), before, strict=True)] == [2, 1, 1, 3, 1]


@pytest.mark.django_db
def test_metrics_work_before_a_model_is_open(client: Client) -> None:
    found = scrape(client)
    assert found["mmsearch_up", frozenset()] == 1
    assert found["mmsearch_items", frozenset({("state", "pending")})] == 0


def test_readyz_asks_few_queries(client: Client, indexed_items: dict[str, Item]) -> None:
    client.get("/readyz")
    with CaptureQueriesContext(connection) as queries:
        client.get("/readyz")
    assert len(queries) <= 8
