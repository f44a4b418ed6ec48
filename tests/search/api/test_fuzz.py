"""Whatever is sent, no endpoint fails: every answer is below 500, as JSON where it is an error."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from catalog.models import Item
from tests.conftest import picture

FUZZ = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
PATHS = ["/search_text/", "/api/v1/search/", "/api/v1/items/", "/api/v1/items/red/"]
FORMS = ["/ingest_stream/", "/search_image/", "/api/v1/search/", "/api/v1/items/"]
NAMES = [
    "query_text",
    "q",
    "like",
    "top_n",
    "offset",
    "modality",
    "category",
    "tags",
    "image",
    "item_id",
    "title",
    "caption",
    "text_caption",
    "tags_str",
    "image_file",
    "image_filename",
]
TEXTS: SearchStrategy[str] = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["\x00", "\ud800", "\u202eabc", "🍎" * 50, " ", "a" * 5000, "1e400", "data:,", "=="]
    ),
)
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([10**30, -1, 0, 2**63, 1e308]),
        st.floats(allow_nan=False, allow_infinity=False),
        TEXTS,
    ),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(TEXTS, children, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6)


def fine(answer: Any) -> None:
    assert answer.status_code < 500
    if answer.status_code >= 400:
        assert json.loads(answer.content)


@pytest.mark.parametrize("path", PATHS)
@FUZZ
@given(body=OBJECTS | VALUES)
@example(body={"query_text": "a", "q": "a", "caption": "a", "modality": "\ud800"})
def test_no_json_makes_an_endpoint_fail(
    client: Client, indexed_items: dict[str, Item], path: str, body: Any
) -> None:
    data = json.dumps(body)
    fine(client.post(path, data, "application/json"))
    fine(client.patch(path, data, "application/json"))


@pytest.mark.parametrize("path", [*PATHS, "/ingest_stream/", "/search_image/"])
@FUZZ
@given(
    body=st.binary(max_size=200),
    content_type=st.sampled_from(
        [
            "application/json",
            "application/json; charset=utf-16",
            "application/json; charset=zlib",
            "application/x-www-form-urlencoded",
            "application/x-www-form-urlencoded; charset=zlib",
            "multipart/form-data",
            "multipart/form-data; boundary=b",
            "text/plain",
            "",
            ";",
        ]
    ),
)
def test_no_bytes_make_an_endpoint_fail(
    client: Client, indexed_items: dict[str, Item], path: str, body: bytes, content_type: str
) -> None:
    fine(client.generic("POST", path, body, content_type=content_type))


@pytest.mark.parametrize("path", FORMS)
@FUZZ
@given(
    fields=st.dictionaries(st.sampled_from(NAMES), TEXTS.filter(lambda t: "\ud800" not in t)),
    data=st.one_of(st.binary(max_size=100), st.just(picture("red"))),
)
def test_no_form_makes_an_endpoint_fail(
    client: Client,
    indexed_items: dict[str, Item],
    path: str,
    fields: dict[str, Any],
    data: bytes,
) -> None:
    for name in ("image", "image_file"):
        if name not in fields:
            filename = fields.get("image_filename") or "a.png"
            fields[name] = SimpleUploadedFile(filename, data)
    fine(client.post(path, fields))


@pytest.mark.parametrize(
    "path", ["/api/v1/search/", "/api/v1/items/", "/api/v1/items/red/similar/"]
)
@FUZZ
@given(
    parameters=st.lists(
        st.tuples(
            st.sampled_from([*NAMES, "tag", "state", "ordering", "page", "page_size", "format"]),
            TEXTS.map(lambda text: text.replace("\ud800", "")) | st.integers(),
        ),
        max_size=6,
    )
)
def test_no_parameters_make_an_endpoint_fail(
    client: Client, indexed_items: dict[str, Item], path: str, parameters: list[tuple[str, Any]]
) -> None:
    fine(client.get(f"{path}?{urlencode(parameters)}"))


@FUZZ
@given(item_id=st.text(max_size=40).filter(lambda text: text.isprintable()))
def test_no_id_makes_an_endpoint_fail(
    client: Client, indexed_items: dict[str, Item], item_id: str
) -> None:
    for method in (client.get, client.patch, client.delete):
        answer = method(f"/api/v1/items/{quote(item_id, safe='')}/")
        assert answer.status_code < 500


@FUZZ
@given(lines=st.lists(st.one_of(st.binary(max_size=60), OBJECTS, VALUES), max_size=8))
def test_no_lines_make_bulk_fail(
    client: Client, indexed_items: dict[str, Item], lines: list[Any]
) -> None:
    encoded = [
        line.replace(b"\n", b"") if isinstance(line, bytes) else json.dumps(line).encode()
        for line in lines
    ]
    answer = client.post(
        "/api/v1/items/bulk/", b"\n".join(encoded), content_type="application/x-ndjson"
    )
    assert answer.status_code == 200
    outcomes = [json.loads(line) for line in answer.getvalue().splitlines()]
    numbers = [number for number, line in enumerate(encoded, 1) if line.strip()]
    assert [outcome["line"] for outcome in outcomes] == numbers
