"""What the API's tests share."""

from __future__ import annotations

import pytest
from rest_framework.test import APIClient


@pytest.fixture
def api() -> APIClient:
    """A client that sends JSON and keeps no session."""
    client = APIClient()
    client.default_format = "json"
    return client
