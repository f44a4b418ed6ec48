"""System checks about the model; none loads it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

from embeddings.backends import build_encoder


@register()
def check_encoder(**_: Any) -> list[CheckMessage]:
    """embeddings.E001: the encoder's settings are wrong; the encoder adds its own messages."""
    try:
        return build_encoder(settings.MMSEARCH_MODEL).check()
    except ImproperlyConfigured as exc:
        return [Error(str(exc), hint="See MMSEARCH_ENCODER.", id="embeddings.E001")]
