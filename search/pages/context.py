"""What every template may say about the installation."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from embeddings.overview import outline


def installation(request: HttpRequest) -> dict[str, Any]:  # noqa: ARG001  Django's signature
    """Which model is in use, what it has still to index, and what goes on beside it.

    It runs for every rendered page: what comes from the database is kept for a moment.
    """
    found = outline()
    return {
        "starter_model": found.source == "starter",
        "arriving": found.arriving,
        "space_news": found.news,
    }
