"""What a worker does that nobody tells it to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes import Installation, wait_until

WITHOUT_A_NUDGE = """
from django.utils import timezone
from django_q.models import Schedule
from catalog.models import Item, caption_digest
from embeddings.models import EmbeddingJob, EmbeddingSpace
Schedule.objects.all().delete()  # no sweep comes
text = f"caption {Item.objects.count()}"
item = Item(item_id=text, caption=text, caption_hash=caption_digest(text))
Item.objects.bulk_create([item])
space = EmbeddingSpace.objects.get()
EmbeddingJob.objects.create(space=space, item=item, run_after=timezone.now())
"""


@pytest.mark.timeout(300)
def test_a_worker_finds_what_no_nudge_tells_it_of(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    living = "SELECT count(*) FROM embeddings_livingprocess WHERE role = 'working'"
    with installation.worker():
        wait_until(lambda: installation.rows(living) == [(2,)], "both of its processes")
        for _ in range(2):  # the first may be found as the worker starts
            installation.manage("shell", "-v0", "-c", WITHOUT_A_NUDGE)
            wait_until(lambda: installation.count("embeddings_embeddingjob") == 0, "no queue")

    assert installation.count("embeddings_embedding") == 2
