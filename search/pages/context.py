"""What every template may say about the installation."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest


def installation(request: HttpRequest) -> dict[str, bool]:  # noqa: ARG001  Django's signature
    """Whether the shipped model is in use, and whether pages offer a login.

    Read from the settings alone: it runs for every rendered page.
    """
    return {
        "starter_model": settings.MMSEARCH_MODEL == "starter",
        "login_needed": settings.MMSEARCH_API_AUTH != "open",
    }
