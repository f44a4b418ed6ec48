"""What a user gets who starts the application, adds items over HTTP, and waits."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from benchmarks.material import captions
from benchmarks.servers import Ours
from tests.databases import servers_of

ITEMS = 2_500
EXACT_ROWS = 500
SMALL = EXACT_ROWS // 2
"""Vectors beside the snapshot that are not worth another one."""


@pytest.mark.timeout(240)
def test_the_index_of_a_running_installation_is_compacted_and_its_log_pruned(
    tmp_path: Path,
) -> None:
    texts = list(islice(captions(seed=1), ITEMS))
    data = tmp_path / "data"
    exact = str(EXACT_ROWS)
    with Ours(data, MMSEARCH_INDEX_EXACT_ROWS=exact, **servers_of(data)) as ours:
        ours.start()
        outcomes = ours.bulk(
            {"item_id": f"item-{number}", "caption": text} for number, text in enumerate(texts)
        )
        assert [outcome["outcome"] for outcome in outcomes] == ["new"] * ITEMS

        def settled() -> bool:
            kind, delta = ours.index()
            return kind != "exact" and delta <= SMALL and ours.log_length() < ITEMS

        ours.wait_idle()
        ours.wait(settled, "an inexact index and a pruned log", patience=120, poll=0.5)

        stats = ours.get("/stats/")
        assert (stats["items"], stats["indexed"], stats["failed"]) == (ITEMS, ITEMS, 0)
        assert [each["vectors"] for each in stats["indexes"] if each["vectors"]] == [ITEMS]
        assert "item-7" in ours.found(texts[7], top_n=10)
