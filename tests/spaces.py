"""Another space that takes over, by what the worker and a serving process do."""

from __future__ import annotations

from embeddings import switching, worker
from embeddings.models import EmbeddingSpace
from embeddings.opening import note_complete, open_space


def build(model: str, *, takes_over: bool = False) -> EmbeddingSpace:
    """Open a model's space and embed everything in it."""
    space = open_space(model, takes_over=takes_over).space
    assert space is not None
    worker.drain()
    space.refresh_from_db()
    note_complete(space)
    space.refresh_from_db()
    return space


def take_over(model: str) -> EmbeddingSpace:
    """Make a model's space the one that answers."""
    space = build(model, takes_over=True)
    switching.advance()
    space.refresh_from_db()
    assert space.state == EmbeddingSpace.State.ACTIVE
    return space
