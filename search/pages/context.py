"""What every template may say about the installation."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from embeddings.overview import outline


def installation(request: HttpRequest) -> dict[str, Any]:  # noqa: ARG001  Django's signature
    """Which model is in use, what goes on beside it, and whether pages offer a login.

    It runs for every rendered page: what comes from the database is kept for a moment.
    """
    found = outline()
    return {
        "starter_model": found.source == "starter",
        "space_news": found.news,
        "login_needed": settings.MMSEARCH_API_AUTH != "open",
    }
