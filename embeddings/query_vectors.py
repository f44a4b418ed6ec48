"""Queries of concurrent requests, encoded together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, Final

import numpy as np

from embeddings.backends import default_encoder
from embeddings.batching import Batcher
from embeddings.encoders.base import Encoder, EncoderError, Modality, Vectors

PATIENCE: Final = 30.0
"""Seconds after which a query that still waits for the encoder is given up, not computed."""

client_has_gone: ContextVar[Callable[[], bool] | None] = ContextVar("client_has_gone", default=None)
"""Where a server can tell that nobody waits for the answer any more, it says so here."""

_lock = threading.Lock()
_batchers: dict[Encoder, dict[Modality, Batcher]] = {}


def encode_query(modality: Modality, query: Any) -> Vectors:
    """The unit vector of a query, float32 (d,). Raises EncoderError, QueryAbandoned."""
    batcher = _batchers_of(default_encoder()).get(modality)
    if batcher is None:
        raise EncoderError(f"This model knows no {modality}: choose another MMSEARCH_MODEL.")
    return batcher.encode(query, timeout=PATIENCE, is_abandoned=client_has_gone.get())


def pieces_of(words: Sequence[str]) -> list[int] | None:
    """See `Encoder.pieces`. Raises EncoderError."""
    return default_encoder().pieces(words)


def recent_query_vectors() -> Vectors:
    """Vectors of what was asked of this process, by modality the very last at the end.

    float32 (n, d). Pictures are not remembered: these are texts.
    """
    encoder = default_encoder()
    vectors = [vector for batcher in _batchers_of(encoder).values() for vector in batcher.recent()]
    return np.reshape(vectors, (len(vectors), encoder.dimension)).astype(np.float32)


def _batchers_of(encoder: Encoder) -> dict[Modality, Batcher]:
    with _lock:
        if encoder not in _batchers:
            _batchers.clear()  # another encoder's vectors never answer for this one
            _batchers[encoder] = {each: Batcher(encoder, each) for each in encoder.modalities}
        return _batchers[encoder]
