"""Queries of concurrent requests, encoded together."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

import numpy as np

from embeddings.backends import encoder_of
from embeddings.batching import PictureBatcher, TextBatcher
from embeddings.encoders.base import Vectors
from embeddings.models import EmbeddingSpace
from embeddings.per_space import PerSpace

if TYPE_CHECKING:
    from PIL.Image import Image

PATIENCE: Final = 30.0
"""Seconds after which a query that still waits for the encoder is given up, not computed."""

client_has_gone: ContextVar[Callable[[], bool] | None] = ContextVar("client_has_gone", default=None)
"""Where a server can tell that nobody waits for the answer any more, it says so here."""


def encode_query_text(space: EmbeddingSpace, text: str) -> Vectors:
    """The unit vector of a query text, float32 (d,). Raises EncoderError, QueryAbandoned."""
    texts, _ = _batchers.of(space)
    return texts.encode(text, timeout=PATIENCE, is_abandoned=client_has_gone.get())


def encode_query_picture(space: EmbeddingSpace, picture: Image) -> Vectors:
    """The same of an upright RGB picture."""
    _, pictures = _batchers.of(space)
    return pictures.encode(picture, timeout=PATIENCE, is_abandoned=client_has_gone.get())


def recent_query_vectors(space: EmbeddingSpace) -> Vectors:
    """Vectors of texts asked of this process, the very last at the end: float32 (n, d)."""
    batchers = _batchers.known(space.pk)
    vectors = [] if batchers is None else batchers[0].recent()
    return np.reshape(vectors, (len(vectors), space.dimension)).astype(np.float32)


def _build(space: EmbeddingSpace) -> tuple[TextBatcher, PictureBatcher]:
    encoder = encoder_of(space)
    return TextBatcher(encoder), PictureBatcher(encoder)


_batchers: PerSpace[tuple[TextBatcher, PictureBatcher]] = PerSpace(_build)
"""With the vectors of recent texts, so that those of one space never answer for another."""
