from __future__ import annotations

import pytest

from search.index.stores.base import VectorStore
from tests.numpy_store import NumpyStore
from tests.search.index.stores.contract import DIMENSION, StoreContract


class TestNumpyStore(StoreContract):
    @pytest.fixture
    def store(self) -> VectorStore:
        return NumpyStore(DIMENSION)
