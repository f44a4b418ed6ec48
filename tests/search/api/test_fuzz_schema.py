"""The short form of `python -m tests.fuzz_api`."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz_api import fuzz
from tests.search.api.test_server import serve


def test_generated_requests_are_answered_as_the_schema_says(tmp_path: Path) -> None:
    with serve(tmp_path) as server:
        sent, failures = fuzz(server, cases=17)
    assert (sent, failures) == (17, {})
