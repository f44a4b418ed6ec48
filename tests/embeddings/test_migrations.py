from __future__ import annotations

import pytest
from django.db import IntegrityError, connection
from django.db.migrations.executor import MigrationExecutor

from embeddings.models import EmbeddingSpace


@pytest.mark.django_db(transaction=True)
def test_spaces_of_an_existing_catalogue_are_kept() -> None:
    before, after = (
        [("embeddings", name)]
        for name in ("0001_spaces_vectors_jobs_changes", "0002_space_generation")
    )
    executor = MigrationExecutor(connection)
    newest = executor.loader.graph.leaf_nodes()
    executor.migrate(before)
    try:
        earlier = executor.loader.project_state(before).apps.get_model(
            "embeddings", "EmbeddingSpace"
        )
        for state in ("active", "retired"):
            earlier.objects.create(fingerprint=state, state=state, model="m", dimension=2)
        MigrationExecutor(connection).migrate(after)
    finally:
        MigrationExecutor(connection).migrate(newest)

    spaces = EmbeddingSpace.objects.order_by("fingerprint")
    assert [space.fingerprint for space in spaces] == ["active", "retired"]
    assert all(len(space.generation) == 12 for space in spaces)
    EmbeddingSpace.objects.create(fingerprint="retired", model="m", dimension=2)
    with pytest.raises(IntegrityError):
        EmbeddingSpace.objects.create(fingerprint="active", model="m", dimension=2)
