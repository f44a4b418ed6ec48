from __future__ import annotations

import logging
from typing import Any

import pytest
from django.test import Client
from prometheus_client import REGISTRY

from catalog.models import Item
from embeddings.query_vectors import client_has_gone


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/search_text/", {"query_text": "gone away"}),
        ("/api/v1/search/", {"q": "gone away"}),
        ("/", None),
    ],
)
def test_a_query_whose_client_has_gone_is_no_error(
    client: Client,
    indexed_items: dict[str, Item],
    caplog: pytest.LogCaptureFixture,
    path: str,
    body: Any,
) -> None:
    extra: dict[str, Any] = {"waitress.client_disconnected": lambda: True}
    if body is None:
        answer = client.get(path, {"q": "gone away"}, **extra)
    else:
        answer = client.post(path, body, "application/json", **extra)

    assert answer.status_code == 499
    assert [record for record in caplog.records if record.levelno > logging.WARNING] == []
    assert client_has_gone.get() is None
    counted = {"method": "GET" if body is None else "POST", "route": path, "status": "499"}
    assert REGISTRY.get_sample_value("mmsearch_http_requests_total", counted) == 1


def test_a_query_whose_client_is_there_is_answered(
    client: Client, indexed_items: dict[str, Item]
) -> None:
    extra: dict[str, Any] = {"waitress.client_disconnected": lambda: False}
    assert client.get("/", {"q": "still here"}, **extra).status_code == 200
