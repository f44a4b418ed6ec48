"""What clients are told while other pictures take all the memory that there is for decoding."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from catalog.ingest import budget, images
from catalog.models import Item
from embeddings.models import EmbeddingSpace
from tests.conftest import picture

REASON = "Too many large pictures are being read. Try again in a moment."


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(budget, "PATIENCE", 0.01)
    total = int(images.BUDGET * 100_000_000)
    with images._budget.lend(total, total):
        yield


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/api/v1/search/", "image"),
        ("/api/v1/items/", "image"),
        ("/search_image/", "image_file"),
        ("/ingest_stream/", "image_file"),
    ],
)
def test_the_api_answers_503_and_when_to_come_again(
    client: Client, space: EmbeddingSpace, busy: None, path: str, field: str
) -> None:
    answer = client.post(path, {field: SimpleUploadedFile("a.png", picture())})
    assert (answer.status_code, answer.json()) == (503, {"detail": REASON})
    assert answer["Retry-After"] == "5"


@pytest.mark.parametrize(("path", "field"), [("/", "picture_file"), ("/upload/", "image")])
def test_pages_answer_503_in_words(
    client: Client, space: EmbeddingSpace, busy: None, path: str, field: str
) -> None:
    answer = client.post(path, {field: SimpleUploadedFile("a.png", picture())})
    assert answer.status_code == 503
    assert REASON in answer.content.decode()
    assert not Item.objects.exists()
