"""Queries of concurrent requests, encoded together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, Final

import numpy as np

from embeddings.backends import encoder_of
from embeddings.batching import Batcher
from embeddings.encoders.base import EncoderError, Modality, Vectors
from embeddings.models import EmbeddingSpace
from embeddings.per_space import PerSpace

PATIENCE: Final = 30.0
"""Seconds after which a query that still waits for the encoder is given up, not computed."""

client_has_gone: ContextVar[Callable[[], bool] | None] = ContextVar("client_has_gone", default=None)
"""Where a server can tell that nobody waits for the answer any more, it says so here."""


def encode_query(space: EmbeddingSpace, modality: Modality, query: Any) -> Vectors:
    """The unit vector of a query, float32 (d,). Raises EncoderError, QueryAbandoned."""
    batcher = _batchers.of(space).get(modality)
    if batcher is None:
        raise EncoderError(f"{space} knows no {modality}: choose another MMSEARCH_MODEL.")
    return batcher.encode(query, timeout=PATIENCE, is_abandoned=client_has_gone.get())


def pieces_of(space: EmbeddingSpace, words: Sequence[str]) -> list[int] | None:
    """See `Encoder.pieces`. Raises EncoderError."""
    return encoder_of(space).pieces(words)


def warm_up(space: EmbeddingSpace) -> None:
    """Make this process ready for the queries that most ask, those of words. Raises EncoderError.

    What else the space's model reads is loaded when it is asked for.
    """
    most_asked = Modality.TEXT if Modality.TEXT in space.covers else space.covers[0]
    encoder_of(space).warm_up([most_asked])


def recent_query_vectors(space: EmbeddingSpace) -> Vectors:
    """Vectors of what was asked of this process, by modality the very last at the end.

    float32 (n, d). Pictures are not remembered: these are texts.
    """
    batchers = _batchers.known(space.pk) or {}
    vectors = [vector for batcher in batchers.values() for vector in batcher.recent()]
    return np.reshape(vectors, (len(vectors), space.dimension)).astype(np.float32)


def _build(space: EmbeddingSpace) -> dict[Modality, Batcher]:
    encoder = encoder_of(space)
    return {each: Batcher(encoder, each) for each in encoder.modalities}


_batchers: PerSpace[dict[Modality, Batcher]] = PerSpace(_build)
"""With the vectors of recent texts, so that those of one space never answer for another."""
