"""System checks about the model; none loads it."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

from embeddings.backends import default_encoder


@register()
def check_encoder(**_: Any) -> list[CheckMessage]:
    """embeddings.E001: the encoder's settings are wrong; the encoder adds its own messages."""
    try:
        return default_encoder().check()
    except ImproperlyConfigured as exc:
        return [Error(str(exc), hint="See MMSEARCH_ENCODERS.", id="embeddings.E001")]
