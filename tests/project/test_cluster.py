"""The worker as `make run` starts it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes import PATIENCE, Installation, wait_until

pytestmark = pytest.mark.timeout(300)


def test_sigterm_leaves_a_long_backlog_and_other_tasks_run_beside_it(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    rows = [{"id": f"row-{n}", "caption": f"caption {n}"} for n in range(1500)]
    installation.manage("ingest_dataset", str(installation.write_csv(rows)))
    beside = (
        "from django_q.tasks import async_task;"
        "async_task('embeddings.tasks.sweep', group='beside');"
        "async_task('search.tasks.maintain_index', group='beside')"
    )
    with installation.worker(TESTS_DELAY="1") as worker:
        wait_until(lambda: installation.count("embeddings_embedding") > 0, "first vectors")
        installation.manage("shell", "-v0", "-c", beside)
        done = "SELECT count(*) FROM django_q_task WHERE \"group\" = 'beside' AND success"
        wait_until(lambda: installation.rows(done)[0][0] == 2, "the tasks beside the embedding")
        assert installation.count("embeddings_embeddingjob") > 0
        worker.terminate()
        assert worker.wait(PATIENCE) == 0

    left = installation.rows("SELECT claimed_by, attempts, error FROM embeddings_embeddingjob")
    assert left
    assert set(left) == {("", 0, "")}
    embedded = installation.count("embeddings_embedding")
    assert embedded + len(left) == len(rows)
