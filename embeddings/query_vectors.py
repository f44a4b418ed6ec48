"""Query texts of concurrent requests, encoded together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

import numpy as np

from embeddings.backends import default_encoder
from embeddings.batching import TextBatcher
from embeddings.encoders.base import Encoder, Vectors

PATIENCE: Final = 30.0
"""Seconds after which a query that still waits for the encoder is given up, not computed."""

client_has_gone: ContextVar[Callable[[], bool] | None] = ContextVar("client_has_gone", default=None)
"""Where a server can tell that nobody waits for the answer any more, it says so here."""

_lock = threading.Lock()
_batchers: dict[Encoder, TextBatcher] = {}


def encode_query_text(text: str) -> Vectors:
    """The unit vector of a query text, float32 (d,). Raises EncoderError."""
    encoder = default_encoder()
    with _lock:
        if encoder not in _batchers:
            _batchers.clear()  # another encoder's vectors never answer for this one
            _batchers[encoder] = TextBatcher(encoder)
        batcher = _batchers[encoder]
    return batcher.encode(text, timeout=PATIENCE, is_abandoned=client_has_gone.get())


def recent_query_vectors() -> Vectors:
    """Vectors of texts asked of this process, the very last at the end: float32 (n, d)."""
    encoder = default_encoder()
    with _lock:
        batcher = _batchers.get(encoder)
    vectors = [] if batcher is None else batcher.recent()
    return np.reshape(vectors, (len(vectors), encoder.describe().dimension)).astype(np.float32)
