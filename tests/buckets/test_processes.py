"""A command and a worker, as processes, whose pictures lie in a bucket that falls silent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import picture
from tests.processes import Installation, wait_until
from tests.servers.s3 import S3

pytestmark = [pytest.mark.servers, pytest.mark.timeout(400)]


def test_a_silence_of_the_bucket_costs_no_item(server: S3, tmp_path: Path) -> None:
    """With the patience that operators have, which no other test waits for."""
    server.empty()
    (tmp_path / "data").mkdir()
    installation = Installation(tmp_path / "data")
    installation.environment |= server.environment
    (tmp_path / "in").mkdir()
    for number in range(100):
        (tmp_path / "in" / f"{number}.png").write_bytes(picture((number, 0, 0)))
    installation.manage("ingest_dataset", str(tmp_path / "in"))
    assert len(server.names()) == 100
    log = installation.data / "worker.log"
    with server.silent(), installation.worker():
        wait_until(lambda: "items wait, unharmed: " in log.read_text(), "the worker to give it up")
        assert installation.count("embeddings_embedding") == 0
    with installation.worker():
        wait_until(lambda: installation.count("embeddings_embedding") == 100, "all vectors")
    assert installation.count("embeddings_embeddingjob") == 0
    installation.manage("check_index")
    installation.manage("delete_items", "--all", "--yes")
    assert server.names() == []
