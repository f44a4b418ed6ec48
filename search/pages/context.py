"""What every template may say about the installation."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest


def model_notice(request: HttpRequest) -> dict[str, bool]:  # noqa: ARG001  Django's signature
    """`starter_model`: the shipped model is in use, and pages say what it is for.

    Read from the settings alone: it runs for every rendered page.
    """
    return {"starter_model": settings.MMSEARCH_MODEL == "starter"}
