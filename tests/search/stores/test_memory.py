from __future__ import annotations

import pytest

from search.stores.base import VectorStore
from search.stores.memory import NumpyStore
from tests.search.stores.contract import DIMENSION, StoreContract


class TestNumpyStore(StoreContract):
    @pytest.fixture
    def store(self) -> VectorStore:
        return NumpyStore(DIMENSION)
