"""A disk that takes no more, through the limit that the system sets on a process's files."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from PIL import Image

from catalog.models import Item
from catalog.storage import DISK_FULL
from search.operations import health


def large_picture() -> bytes:
    stream = io.BytesIO()
    Image.effect_noise((600, 600), 90).convert("RGB").save(stream, "PNG")
    return stream.getvalue()


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file grows beyond 100 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def media_files() -> set[Path]:
    return {path for path in Path(settings.MEDIA_ROOT).rglob("*") if path.is_file()}


@pytest.mark.parametrize("path", ["/api/v1/items/", "/ingest_stream/", "/upload/"])
def test_a_full_disk_is_507_and_leaves_nothing(
    client: Client, indexed_items: dict[str, Item], path: str
) -> None:
    client.raise_request_exception = False
    before = media_files()
    field = "image_file" if path == "/ingest_stream/" else "image"
    with full_disk():
        answer = client.post(path, {field: SimpleUploadedFile("a.png", large_picture())})
    assert answer.status_code == 507
    text = answer.content.decode()
    assert (text if path == "/upload/" else json.loads(text)["detail"]) == DISK_FULL
    assert media_files() == before
    assert Item.objects.count() == len(indexed_items)


def test_a_full_disk_is_told_to_every_line_of_bulk(
    client: Client, indexed_items: dict[str, Item]
) -> None:
    before = media_files()
    image = base64.b64encode(large_picture()).decode()
    lines = [{"item_id": "a", "image": image}, *({"item_id": f"i{n}"} for n in range(500))]
    body = "\n".join(map(json.dumps, lines)).encode()
    with full_disk():
        answer = client.post("/api/v1/items/bulk/", body, "application/x-ndjson")
        outcomes: list[Any] = [json.loads(line) for line in answer.getvalue().splitlines()]
    assert [outcome["line"] for outcome in outcomes] == list(range(1, 502))
    assert {(outcome["outcome"], outcome["reason"]) for outcome in outcomes} == {
        ("rejected", DISK_FULL)
    }
    assert media_files() == before


def test_readiness_tells_of_a_full_disk(
    client: Client, indexed_items: dict[str, Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(settings.MMSEARCH_DATA_DIR).free
    monkeypatch.setattr(health, "LEAST_FREE", free * 2)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["parts"]["disk"].endswith("are free on the disk of the data folder.")
