"""What a worker does that nobody tells it to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes import Installation, wait_until

WITHOUT_A_NUDGE = """
from django.utils import timezone
from catalog.models import Item, caption_digest
from embeddings.models import EmbeddingJob, EmbeddingSpace
items = Item.objects.bulk_create(
    Item(item_id=text, caption=text, caption_hash=caption_digest(text)) for text in ("a", "b", "c")
)
space = EmbeddingSpace.objects.get()
EmbeddingJob.objects.bulk_create(
    EmbeddingJob(space=space, item=item, run_after=timezone.now()) for item in items
)
"""


@pytest.mark.timeout(300)
def test_a_worker_finds_what_no_nudge_tells_it_of(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    living = "SELECT count(*) FROM embeddings_livingprocess WHERE role = 'working'"
    with installation.worker():
        wait_until(lambda: installation.rows(living) == [(2,)], "both of its processes")
        installation.manage("shell", "-v0", "-c", WITHOUT_A_NUDGE)
        wait_until(lambda: installation.count("embeddings_embeddingjob") == 0, "an empty queue")

    assert installation.count("embeddings_embedding") == 3
    assert "embed_pending of this host" in (tmp_path / "worker.log").read_text()
