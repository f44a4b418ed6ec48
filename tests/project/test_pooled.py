"""The application behind pgbouncer, where no transaction has the connection of the one before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.databases import database_of
from tests.processes import Installation, wait_until
from tests.servers import PgBouncer

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]
ITEMS = 300


@pytest.fixture
def pool() -> Iterator[PgBouncer]:
    with PgBouncer(os.environ["TESTS_DATABASE_URL"]) as running:
        yield running


def test_items_come_in_and_are_found_and_nothing_is_kept_between_transactions(
    tmp_path: Path, pool: PgBouncer
) -> None:
    name = database_of(tmp_path).rpartition("/")[2]
    installation = Installation(
        tmp_path,
        made="anew",
        MMSEARCH_DATABASE_URL=f"{pool.url.rpartition('/')[0]}/{name}",
        MMSEARCH_DATABASE_POOLED="1",
    )
    rows = [{"id": f"item-{n}", "caption": f"red thing {n}"} for n in range(ITEMS)]
    with installation.worker(), installation.searcher() as ask:
        installation.manage("ingest_dataset", str(installation.write_csv(rows)), "--wait")
        wait_until(lambda: len(ask("red")) == ITEMS, "all items")
        installation.manage("delete_items", "item-7", "--yes")
        wait_until(lambda: len(ask("red")) == ITEMS - 1, "the deletion")
    assert "Database and index agree." in installation.manage("check_index")
    assert f"{ITEMS - 1:,} items" in installation.manage("export_items", str(tmp_path / "all.csv"))

    installation.environment["MMSEARCH_DATABASE_POOLED"] = "0"
    with pytest.raises(AssertionError, match=r'(cursor|portal) "\w+" does not exist'):
        installation.manage("check_index")
