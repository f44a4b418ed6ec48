"""From a model's name to its encoder, and from a space to the encoder that made it."""

from __future__ import annotations

from typing import Any, cast

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from embeddings.encoders.base import Encoder, EncoderError
from embeddings.models import EmbeddingSpace
from embeddings.per_space import PerSpace


def build_encoder(model: str, *, revision: str = "") -> Encoder:
    """An encoder of the model of that name, as it is now or as of `revision`; it loads nothing yet.

    Raises ImproperlyConfigured where settings name no class of encoders.
    """
    configured: dict[str, Any] = settings.MMSEARCH_ENCODER
    try:
        backend = import_string(configured["BACKEND"])
    except (KeyError, ImportError) as exc:
        raise ImproperlyConfigured(
            f"MMSEARCH_ENCODER names no backend that can be imported: {exc}."
        ) from exc
    return cast("Encoder", backend(model, revision=revision, **configured.get("OPTIONS", {})))


def encoder_of(space: EmbeddingSpace) -> Encoder:
    """The space's encoder, one a process. Raises EncoderError where its model is gone."""
    return _encoders.of(space)


def _build(space: EmbeddingSpace) -> Encoder:
    encoder = build_encoder(space.source, revision=space.revision)
    found = encoder.describe()
    if (found.model, found.revision, found.dimension) != (
        space.model,
        space.revision,
        space.dimension,
    ):
        raise EncoderError(
            f"The model of {space} is gone: {space.source} holds another one by now. Put its files"
            f" back, or give the space up with `manage.py retire_space {space.pk}`."
        )
    return encoder


_encoders: PerSpace[Encoder] = PerSpace(_build)
