from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from django.apps.registry import Apps
from django.conf import settings
from django.db import IntegrityError, connection
from django.db.migrations.executor import MigrationExecutor

from catalog.models import Item
from embeddings import jobs, states, worker
from embeddings.backends import build_encoder
from embeddings.encoders.base import Modality
from embeddings.models import Embedding, EmbeddingSpace, VectorChange
from embeddings.opening import open_space
from search.answer.answering import search
from search.answer.syntax import ask
from search.index.space_index import active_index

pytestmark = pytest.mark.django_db(transaction=True)


def migrate_from(*before: tuple[str, str], fill: Callable[[Any], None]) -> None:
    """Go back to an earlier state of the database, fill it, and come forward to the newest."""
    executor = MigrationExecutor(connection)
    newest = executor.loader.graph.leaf_nodes()
    executor.migrate(list(before))
    try:
        fill(executor.loader.project_state(list(before)).apps)
    finally:
        MigrationExecutor(connection).migrate(newest)


def test_spaces_of_an_existing_catalogue_are_kept() -> None:
    def fill(apps: Apps) -> None:
        earlier: Any = apps.get_model("embeddings", "EmbeddingSpace")
        for state in ("active", "retired"):
            earlier.objects.create(fingerprint=state, state=state, model=state, dimension=2)

    migrate_from(("embeddings", "0001_spaces_vectors_jobs_changes"), fill=fill)

    active, retired = EmbeddingSpace.objects.order_by("model")
    assert (active.state, retired.state) == ("active", "retired")
    assert {len(active.generation), len(retired.generation)} == {12}
    new = {"model": "m", "dimension": 2, "modalities": ["text"]}
    EmbeddingSpace.objects.create(fingerprint=retired.fingerprint, **new)
    with pytest.raises(IntegrityError):
        EmbeddingSpace.objects.create(fingerprint=active.fingerprint, **new)


def test_vectors_made_before_are_kept_and_none_is_made_anew() -> None:
    """Of a catalogue in int8, with one item whose caption was edited before it was upgraded."""
    encoder = build_encoder(settings.MMSEARCH_MODEL)
    described = encoder.describe()

    def fill(apps: Apps) -> None:
        items: Any = apps.get_model("catalog", "Item")
        spaces: Any = apps.get_model("embeddings", "EmbeddingSpace")
        embeddings: Any = apps.get_model("embeddings", "Embedding")
        earlier = {"model": described.model, "revision": described.revision, "dimension": 32}
        space = spaces.objects.create(
            fingerprint="of int8", precision="int8", state="active", **earlier
        )
        other = spaces.objects.create(fingerprint="of fp32", precision="fp32", **earlier)
        for caption in ("red", "gr\u00fcn \\ blue", "edited"):
            content = hashlib.sha256(f"\n{caption}".encode()).hexdigest()
            item = items.objects.create(item_id=caption, caption=caption, content_hash=content)
            vector = encoder.encode(Modality.TEXT, [caption])[0].astype("<f2").tobytes()
            embeddings.objects.create(
                space=space,
                item=item,
                modality="text",
                vector=vector,
                content_hash="of earlier words" if caption == "edited" else content,
            )
            embeddings.objects.create(
                space=other, item=item, modality="text", vector=vector, content_hash=content
            )
            changes: Any = apps.get_model("embeddings", "VectorChange")
            changes.objects.create(space=space, modality="text", vector_item=item.pk)
        (settings.MMSEARCH_INDEX_DIR / f"of int8-{space.generation}" / "text").mkdir(parents=True)

    migrate_from(("catalog", "0005_item_changes"), ("embeddings", "0003_queue_indexes"), fill=fill)

    before = dict(Embedding.objects.values_list("item__item_id", "vector"))
    opening = open_space()
    assert opening.space is not None
    assert (opening.space.state, opening.enqueued) == ("active", 1)
    assert opening.space.fingerprint == described.fingerprint
    assert opening.space.covers == (Modality.IMAGE, Modality.TEXT)
    states_by_age = EmbeddingSpace.objects.order_by("pk").values_list("state", flat=True)
    assert list(states_by_age) == ["active", "retired"]
    waiting = Item.objects.filter(embedding_jobs__isnull=False)
    assert [item.item_id for item in waiting] == ["edited"]
    assert states.counts() == states.StateCounts(items=3, indexed=2, pending=1, failed=0)
    assert [hit.item.item_id for hit in search(ask("red", top_n=1)).hits] == ["red"]

    assert worker.drain() == worker.DrainReport(indexed=1)
    assert dict(Embedding.objects.values_list("item__item_id", "vector")) == before
    assert VectorChange.objects.count() == 4
    assert len(active_index().stores[Modality.TEXT]) == 3
    assert jobs.enqueue(Item.objects.values_list("pk", flat=True)) == 0
