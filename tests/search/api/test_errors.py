"""Errors that belong to no endpoint."""

from __future__ import annotations

import pytest
from django.test import Client

from catalog.models import Item
from embeddings.models import EmbeddingSpace


@pytest.mark.parametrize("method", ["get", "post", "delete"])
@pytest.mark.parametrize(
    "path", ["/api/", "/api/v2/", "/api/v1/items/a/b/c/", "/api/v1/items/%00/"]
)
def test_unknown_addresses_are_404_as_json(client: Client, method: str, path: str) -> None:
    answer = getattr(client, method)(path)
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith("Nothing is served at /api/")


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/api/v1/items", "/api/v1/items/"),
        ("/api/v1/search?q=a%20b", "/api/v1/search/?q=a%20b"),
        ("/api/v1/items/a.b", "/api/v1/items/a.b/"),
    ],
)
def test_a_missing_slash_is_a_redirect_that_keeps_the_body(
    client: Client, path: str, target: str
) -> None:
    answer = client.post(path, {"caption": "x"}, "application/json")
    assert (answer.status_code, answer["Location"]) == (308, target)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", "/search_text/"),
        ("get", "/ingest_stream/"),
        ("delete", "/stats/"),
        ("put", "/api/v1/items/"),
        ("delete", "/api/v1/search/"),
    ],
)
def test_a_wrong_method_is_405_as_json(
    client: Client, space: EmbeddingSpace, method: str, path: str
) -> None:
    answer = getattr(client, method)(path)
    assert answer.status_code == 405
    assert answer.json() == {"detail": f'Method "{method.upper()}" not allowed.'}


def test_a_strange_content_type_is_415_as_json(client: Client, space: EmbeddingSpace) -> None:
    answer = client.post("/search_text/", "red", "text/plain")
    assert answer.status_code == 415
    assert answer.json() == {"detail": 'Unsupported media type "text/plain" in request.'}


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "nonsense", ";;;", "*/*;q=x"])
def test_a_strange_accept_header_gets_json(
    client: Client, indexed_items: dict[str, Item], accept: str
) -> None:
    answer = client.get("/api/v1/items/", headers={"Accept": accept})
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")


def test_a_broken_form_is_400_as_json(client: Client, space: EmbeddingSpace) -> None:
    answer = client.post("/ingest_stream/", b"x", "multipart/form-data; boundary=")
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("Multipart form parse error")


def test_a_form_of_too_many_fields_is_400_as_json(client: Client, space: EmbeddingSpace) -> None:
    answer = client.post("/ingest_stream/", {f"f{number}": "" for number in range(2000)})
    assert answer.status_code == 400
    assert "DATA_UPLOAD_MAX_NUMBER_FIELDS" in answer.json()["detail"]


def test_a_failing_server_says_so_as_json(
    space: EmbeddingSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("search.api.legacy.system_stats", fail)
    answer = Client(raise_request_exception=False).get("/stats/")
    assert answer.status_code == 500
    assert answer.json() == {"detail": "The server failed; its log says why."}
