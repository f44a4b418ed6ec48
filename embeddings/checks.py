"""System checks about the model; none loads it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004  Django's name
from django.core.exceptions import ImproperlyConfigured

from embeddings.backends import build_encoder


@register()
def check_encoder(**_: Any) -> list[CheckMessage]:
    """embeddings.E001: the encoder's settings are wrong; the encoder adds its own messages."""
    try:
        return [_as_it_matters(each) for each in build_encoder(settings.MMSEARCH_MODEL).check()]
    except ImproperlyConfigured as exc:
        return [Error(str(exc), hint="See MMSEARCH_ENCODER.", id="embeddings.E001")]


def _as_it_matters(message: CheckMessage) -> CheckMessage:
    """A model that vanished since the last start stops no other: its space says what it lacks."""
    if message.id != "embeddings.E010":
        return message
    choice, model = settings.MMSEARCH_MODEL_CHOICE, settings.MMSEARCH_MODEL
    if not (choice.exists() and choice.read_text().strip() == model):
        return Error(f"MMSEARCH_MODEL={model}: {message.msg}", id=message.id)
    kept = "Its space goes on with the copy that was prepared of it, where one is kept."
    return Warning(message.msg, hint=kept, id="embeddings.W011")
