"""Who may use the API, and from where."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings
from rest_framework.authtoken.models import Token

from catalog.models import Item
from embeddings.models import EmbeddingSpace

JSON = "application/json"
ITEM = {"item_id": "a", "caption": "x"}
PROTECTED = [
    ("post", "/ingest_stream/"),
    ("post", "/search_text/"),
    ("post", "/search_image/"),
    ("get", "/stats/"),
    ("get", "/metrics"),
    ("get", "/api/v1/items/"),
    ("post", "/api/v1/items/"),
    ("post", "/api/v1/items/bulk/"),
    ("post", "/api/v1/items/bulk-delete/"),
    ("get", "/api/v1/items/a/"),
    ("put", "/api/v1/items/a/"),
    ("patch", "/api/v1/items/a/"),
    ("delete", "/api/v1/items/a/"),
    ("get", "/api/v1/items/a/similar/"),
    ("get", "/api/v1/search/?q=a"),
    ("post", "/api/v1/search/"),
]


@pytest.fixture
def required(settings: Settings) -> None:
    settings.MMSEARCH_API_AUTH = "required"


@pytest.fixture
def user(db: None) -> User:
    return User.objects.create_user("ann", password="secret")


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_required_mode_asks_strangers_for_a_login(
    client: Client, space: EmbeddingSpace, required: None, method: str, path: str
) -> None:
    answer = getattr(client, method)(path)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Token"
    assert answer.json() == {"detail": "Authentication credentials were not provided."}


def test_required_mode_takes_a_token(
    client: Client, space: EmbeddingSpace, required: None, user: User
) -> None:
    headers = {"Authorization": f"Token {Token.objects.create(user=user).key}"}
    answer = client.post("/api/v1/items/", ITEM, JSON, headers=headers)
    assert answer.status_code == 201
    assert client.get("/stats/", headers=headers).status_code == 200


def test_required_mode_refuses_a_wrong_token(
    client: Client, space: EmbeddingSpace, required: None
) -> None:
    answer = client.get("/stats/", headers={"Authorization": "Token wrong"})
    assert (answer.status_code, answer.json()) == (401, {"detail": "Invalid token."})


def test_required_mode_takes_a_session_with_its_csrf_token(
    space: EmbeddingSpace, required: None, user: User
) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    assert client.get("/api/v1/items/").status_code == 200
    refused = client.post("/api/v1/items/", ITEM, JSON)
    assert refused.status_code == 403
    assert refused.json()["detail"].startswith("CSRF Failed")
    client.cookies["csrftoken"] = "a" * 32
    headers = {"X-CSRFToken": "a" * 32}
    assert client.post("/api/v1/items/", ITEM, JSON, headers=headers).status_code == 201


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/docs", "/openapi.json"])
def test_required_mode_leaves_probes_and_documentation_open(
    client: Client, space: EmbeddingSpace, required: None, path: str
) -> None:
    assert client.get(path).status_code == 200


def test_open_mode_takes_programs_as_they_come(space: EmbeddingSpace, user: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)  # an old cookie is no reason to ask for a CSRF token
    answer = client.post("/api/v1/items/", ITEM, JSON, headers={"Authorization": "Token old"})
    assert answer.status_code == 201


def test_open_mode_reads_no_session(space: EmbeddingSpace, user: User) -> None:
    client = Client()
    client.force_login(user)
    with CaptureQueriesContext(connection) as queries:
        client.get("/api/v1/items/")
    assert not [query for query in queries if "session" in query["sql"] or "user" in query["sql"]]


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://testserver"}, True),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://testserver:9000"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Origin": "http://testserver"}, True),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://[broken"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://friend.example"}, True),
    ],
)
def test_open_mode_refuses_pages_of_other_sites(
    client: Client,
    space: EmbeddingSpace,
    settings: Settings,
    headers: dict[str, str],
    allowed: bool,
) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://friend.example"]
    answer = client.post("/ingest_stream/", {"text_caption": "x"}, headers=headers)
    if allowed:
        assert answer.status_code == 200
    else:
        assert answer.status_code == 403
        assert answer.json() == {"detail": "A page of another site may not use this API."}
    assert Item.objects.exists() is allowed


def test_open_mode_lets_other_sites_read(client: Client, space: EmbeddingSpace) -> None:
    """Browsers keep the answer from them: no CORS header is sent."""
    answer = client.get("/api/v1/items/", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 200
    assert "Access-Control-Allow-Origin" not in answer


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
def test_open_mode_is_not_for_what_comes_through_a_proxy(
    client: Client, make_item: Callable[..., Item], settings: Settings, header: str
) -> None:
    make_item(item_id="a")
    headers = {header: "203.0.113.9"}
    refused = client.delete("/api/v1/items/a/", headers=headers)
    assert (refused.status_code, refused.json()) == (
        401,
        {
            "detail": f"This came through a proxy ({header}), and the API is open to this machine"
            " alone. Log in, or see MMSEARCH_ALLOW_ANONYMOUS_WRITES."
        },
    )
    assert client.get("/", headers=headers).status_code == 302
    settings.MMSEARCH_ALLOW_ANONYMOUS_WRITES = True
    assert client.delete("/api/v1/items/a/", headers=headers).status_code == 204
