"""The OpenAPI schema, and answers held against it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from django.core.management import call_command
from django.test import Client

from catalog.models import Item
from embeddings.models import EmbeddingSpace
from search.api.urls import api_urls

JSON = "application/json"
NDJSON = "application/x-ndjson"
Operation = dict[str, Any]


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The schema as /openapi.json gives it: valid, made without a warning or a database."""
    file = tmp_path_factory.mktemp("schema") / "openapi.json"
    call_command(
        "spectacular",
        "--format=openapi-json",
        "--validate",
        "--fail-on-warn",
        f"--file={file}",
    )
    made: dict[str, Any] = json.loads(file.read_text())
    return made


def operations(schema: dict[str, Any]) -> dict[str, Operation]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    }


def test_schema_has_every_operation(schema: dict[str, Any]) -> None:
    assert sorted(operations(schema)) == [
        "DELETE /api/v1/items/{item_id}/",
        "GET /api/v1/items/",
        "GET /api/v1/items/{item_id}/",
        "GET /api/v1/items/{item_id}/similar/",
        "GET /api/v1/search/",
        "GET /healthz",
        "GET /metrics",
        "GET /readyz",
        "GET /stats/",
        "PATCH /api/v1/items/{item_id}/",
        "POST /api/v1/items/",
        "POST /api/v1/items/bulk-delete/",
        "POST /api/v1/items/bulk/",
        "POST /api/v1/search/",
        "POST /ingest_stream/",
        "POST /search_image/",
        "POST /search_text/",
        "PUT /api/v1/items/{item_id}/",
    ]
    served = {url.name for url in api_urls if url.name not in {None, "schema", "docs"}}
    assert len(served) == len(schema["paths"])


def test_every_operation_has_a_summary_schemas_and_an_example(schema: dict[str, Any]) -> None:
    for name, operation in operations(schema).items():
        assert operation["summary"], name
        answers = operation["responses"]
        success = min(answers)
        assert success.startswith("20"), name
        if success == "204":
            continue
        for content in answers[success]["content"].values():
            assert content["schema"], name
            assert content["examples"], name
        for content in operation.get("requestBody", {"content": {}})["content"].values():
            assert content["schema"], name


def test_whatever_takes_a_body_or_writes_tells_of_logins_and_a_full_disk(
    schema: dict[str, Any],
) -> None:
    told = {
        name: {"401", "403", "507"} - operation["responses"].keys()
        for name, operation in operations(schema).items()
        if not name.startswith("GET ")
    }
    assert {name: missing for name, missing in told.items() if missing} == {}
    adding = ("POST /api/v1/items/", "POST /api/v1/items/bulk/", "POST /ingest_stream/")
    assert all("503" in operations(schema)[name]["responses"] for name in adding)


def test_examples_fit_their_schemas(schema: dict[str, Any]) -> None:
    for name, operation in operations(schema).items():
        for status, answer in operation["responses"].items():
            for content in answer.get("content", {}).values():
                for example in content.get("examples", {}).values():
                    check(schema, content["schema"], example["value"], f"{name} {status}")


@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("GET /api/v1/items/", lambda client: client.get("/api/v1/items/")),
        ("GET /api/v1/items/{item_id}/", lambda client: client.get("/api/v1/items/red/")),
        ("GET /api/v1/items/{item_id}/", lambda client: client.get("/api/v1/items/words/")),
        ("GET /api/v1/items/{item_id}/", lambda client: client.get("/api/v1/items/nobody/")),
        (
            "GET /api/v1/items/{item_id}/similar/",
            lambda client: client.get("/api/v1/items/red/similar/"),
        ),
        ("GET /api/v1/search/", lambda client: client.get("/api/v1/search/?q=red")),
        ("GET /api/v1/search/", lambda client: client.get("/api/v1/search/")),
        ("POST /api/v1/search/", lambda client: client.post("/api/v1/search/", {"q": "red"}, JSON)),
        (
            "POST /api/v1/items/",
            lambda client: client.post("/api/v1/items/", {"caption": "x"}, JSON),
        ),
        (
            "POST /api/v1/items/bulk/",
            lambda client: client.post("/api/v1/items/bulk/", b'{"caption": 5}', NDJSON),
        ),
        (
            "POST /api/v1/items/bulk-delete/",
            lambda client: client.post(
                "/api/v1/items/bulk-delete/", {"item_ids": ["red", "nobody"]}, JSON
            ),
        ),
        (
            "POST /api/v1/items/bulk-delete/",
            lambda client: client.post("/api/v1/items/bulk-delete/", {"item_ids": "red"}, JSON),
        ),
        (
            "PATCH /api/v1/items/{item_id}/",
            lambda client: client.patch("/api/v1/items/red/", {"title": "x"}, JSON),
        ),
        (
            "POST /search_text/",
            lambda client: client.post("/search_text/", {"query_text": "red"}, JSON),
        ),
        (
            "POST /ingest_stream/",
            lambda client: client.post("/ingest_stream/", {"text_caption": "x"}),
        ),
        ("GET /stats/", lambda client: client.get("/stats/")),
        ("GET /readyz", lambda client: client.get("/readyz")),
        ("GET /healthz", lambda client: client.get("/healthz")),
    ],
)
def test_answers_fit_the_schema(
    client: Client,
    indexed_items: dict[str, Item],
    schema: dict[str, Any],
    name: str,
    ask: Callable[[Client], Any],
) -> None:
    answer = ask(client)
    content = operations(schema)[name]["responses"][str(answer.status_code)]["content"]
    check(schema, content[answer["Content-Type"]]["schema"], answer_json(answer), name)


def answer_json(answer: Any) -> Any:
    if not answer.streaming:
        return answer.json()
    return json.loads(answer.getvalue())


def check(schema: dict[str, Any], part: dict[str, Any], value: Any, name: str) -> None:
    """Hold a value against a part of the schema; objects may not have unknown keys."""
    try:
        jsonschema.validate(value, closed({**part, "components": schema["components"]}))
    except jsonschema.ValidationError as exc:
        raise AssertionError(f"{name}: {exc.message} at {list(exc.absolute_path)}") from exc


def closed(part: Any) -> Any:
    """OpenAPI 3.0 as JSON Schema: `nullable` said its way, and no key beyond the named ones."""
    if isinstance(part, list):
        return [closed(each) for each in part]
    if not isinstance(part, dict):
        return part
    made = {key: closed(value) for key, value in part.items()}
    if "properties" in made and made.get("type") == "object":
        made.setdefault("additionalProperties", False)
    if made.pop("nullable", False):
        return {"anyOf": [made, {"type": "null"}]}
    return made


def test_documentation_loads_nothing_from_elsewhere(client: Client, space: EmbeddingSpace) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    text = page.content.decode()
    assert "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js" in text
    assert "http://" not in text
    assert "https://" not in text
    # The content security policy lets no inline script run.
    assert "<script>" not in text
    script = client.get("/docs?script=")
    assert script["Content-Type"] == "application/javascript"
    assert "/openapi.json" in script.content.decode()


def test_documentation_is_found_with_a_slash_too(client: Client) -> None:
    assert client.get("/docs/")["Location"] == "/docs"


def test_openapi_json_is_served(
    client: Client, schema: dict[str, Any], space: EmbeddingSpace
) -> None:
    answer = client.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.json()["paths"].keys() == schema["paths"].keys()


def test_openapi_json_is_made_once_whoever_asks_first() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.search.api.many_ask_first"],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[200]\n"


def test_openapi_json_is_the_same_whatever_is_asked_with(
    client: Client, space: EmbeddingSpace
) -> None:
    plain = client.get("/openapi.json")
    odd = client.get("/openapi.json", {"version": "1\r\nSet-Cookie: a=b", "lang": "de"})
    assert (odd.status_code, odd.content) == (200, plain.content)
    assert odd["Content-Type"] == "application/vnd.oai.openapi+json"
