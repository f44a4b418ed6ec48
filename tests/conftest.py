"""Fixtures for every test: an open space, items, and an index that starts empty."""

from __future__ import annotations

import io
import itertools
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from PIL import Image

from catalog.ingest import ItemRecord, OutcomeKind, UploadedImage, ingest_one
from catalog.models import Item
from catalog.words.asking import forget_common_words
from catalog.words.vocabulary import reset_vocabulary
from catalog.words.writing import forget_learnt
from embeddings import overview, per_space, worker
from embeddings.models import EmbeddingSpace
from embeddings.opening import open_space
from search.index.item_columns import reset_columns
from tests.databases import on_servers

TESTS = Path(__file__).parent
WITHOUT_DATABASE = ("embeddings/encoders/", "search/index/stores/", "project/test_crash.py")
"""Where a test has none, unless it asks for one: on servers it would do the same again."""
_numbers = itertools.count(1)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave tests to the run that they are for, say how many, and begin with the long ones."""
    apart = [item for item in items if _is_of_other_run(item)]
    if apart:
        config.hook.pytest_deselected(items=apart)
        items[:] = [item for item in items if item not in apart]
    # A file is run by one process: a long one that came last would leave the others idle.
    patience: dict[Path, float] = defaultdict(float)
    for item in items:
        patience[item.path] = max(patience[item.path], _patience(item))
    items.sort(key=lambda item: -patience[item.path])


def _is_of_other_run(item: pytest.Item) -> bool:
    """Whether `make test-scale`, or on servers `make test`, runs it."""
    if not on_servers():
        return item.get_closest_marker("servers") is not None
    path = item.path.relative_to(TESTS).as_posix()
    is_marked = item.get_closest_marker("servers") or item.get_closest_marker("django_db")
    asks_database = is_marked or "db" in getattr(item, "fixturenames", ())
    return path.startswith(WITHOUT_DATABASE) and not asks_database


def _patience(item: pytest.Item) -> float:
    """Seconds that a test says it may take; 0 where it says nothing."""
    marker = item.get_closest_marker("timeout")
    return 0.0 if marker is None else float(marker.args[0])


def picture(
    colour: str | tuple[int, ...] = "red",
    size: tuple[int, int] = (32, 32),
    format: str = "PNG",  # noqa: A002
    mode: str = "RGB",
) -> bytes:
    """The bytes of a plain picture."""
    stream = io.BytesIO()
    Image.new(mode, size, colour).save(stream, format)
    return stream.getvalue()


@pytest.fixture(autouse=True)
def _fresh_index() -> Iterator[None]:
    """No index, snapshot or encoder of one test is seen by another."""
    per_space.reset()
    overview.forget_outline()
    reset_columns()
    reset_vocabulary()
    forget_common_words()
    forget_learnt()
    yield
    per_space.reset()
    shutil.rmtree(settings.MMSEARCH_INDEX_DIR, ignore_errors=True)


@pytest.fixture
def space(db: None) -> EmbeddingSpace:
    """The open space of the test encoder."""
    opened = open_space().space
    assert opened is not None
    return opened


@pytest.fixture
def make_item(space: EmbeddingSpace) -> Callable[..., Item]:
    """Store an item through the ingestion pipeline; `colour` gives it a plain picture."""

    def make(*, colour: str | None = None, item_id: str | None = None, **fields: Any) -> Item:
        number = next(_numbers)
        image = UploadedImage(data=picture(colour), filename=f"{colour}.png") if colour else None
        if not colour:
            fields.setdefault("caption", f"thing {number}")
        outcome = ingest_one(ItemRecord(item_id=item_id or f"item-{number}", image=image, **fields))
        assert outcome.kind is not OutcomeKind.REJECTED, outcome.reason
        assert outcome.pk is not None
        return Item.objects.get(pk=outcome.pk)

    return make


@pytest.fixture
def indexed_items(make_item: Callable[..., Item]) -> dict[str, Item]:
    """Four indexed items: three coloured pictures and one caption."""
    items = {
        "red": make_item(
            item_id="red", colour="red", title="Red", category="warm", tags=("colour", "fire")
        ),
        "green": make_item(
            item_id="green", colour="green", title="Green", category="cold", tags=("colour",)
        ),
        "blue": make_item(
            item_id="blue", colour="blue", title="Blue", category="cold", tags=("colour", "sea")
        ),
        "words": make_item(item_id="words", caption="a quiet evening", title="Evening"),
    }
    worker.drain()
    return items
