from __future__ import annotations

from pathlib import Path

import pytest

from search.stores.base import VectorStore
from search.stores.faiss import FaissStore
from tests.search.stores.contract import DIMENSION, StoreContract


class TestFaissStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> VectorStore:
        return FaissStore(DIMENSION, tmp_path / "vectors", key="space/image")


class CompactingStore(FaissStore):
    """Compacts at every commit, so that the contract is kept by segments too."""

    def commit(self, position: int) -> None:
        super().commit(position)
        assert self.compact()


class TestCompactedFaissStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> VectorStore:
        return CompactingStore(DIMENSION, tmp_path / "vectors", key="space/image")
