"""System checks about the vector store; none loads an index."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register


@register()
def check_store(**_: Any) -> list[CheckMessage]:
    """search.E001: MMSEARCH_VECTOR_STORE names no store that can be imported."""
    name = settings.MMSEARCH_VECTOR_STORE
    try:
        module, _, _ = settings.MMSEARCH_STORES[name]["BACKEND"].rpartition(".")
        found = find_spec(module) is not None  # importing it would import faiss
    except (KeyError, ImportError, ValueError):
        found = False
    if found:
        return []
    return [
        Error(
            f"MMSEARCH_VECTOR_STORE={name!r} names no vector store.",
            hint="Use faiss, or add the store to MMSEARCH_STORES.",
            id="search.E001",
        )
    ]
