"""How much room a space takes."""

from __future__ import annotations

from typing import Final

from embeddings.models import Embedding, EmbeddingSpace
from search.index.space_index import space_directory

MB: Final = 2**20
HALF: Final = 2
"""Bytes of a float16."""


def bytes_of(space: EmbeddingSpace) -> int:
    """Its vectors in the database, and the files of its index."""
    vectors = Embedding.objects.filter(space=space).count() * space.dimension * HALF
    files = space_directory(space).rglob("*")
    sizes = 0
    for file in files:
        try:
            sizes += file.stat().st_size
        except FileNotFoundError:  # replaced by a newer snapshot meanwhile
            continue
    return vectors + sizes
