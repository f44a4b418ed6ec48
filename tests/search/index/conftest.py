"""Servers that the tests of stores share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.servers import Milvus


@pytest.fixture(scope="session")
def milvus_server() -> Iterator[Milvus]:
    """One for all tests of a process; whoever writes into it takes it away again."""
    from tests.servers import Milvus  # of packages that `make test` does without

    with Milvus() as server:
        yield server
