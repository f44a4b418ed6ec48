"""System checks about the vector store; none loads an index."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.utils.module_loading import import_string

from search.index.space_index import is_local


@register()
def check_store(**_kwargs: Any) -> list[CheckMessage]:
    """search.E001: MMSEARCH_VECTOR_STORE names no store that can be imported; and its own."""
    name = settings.MMSEARCH_VECTOR_STORE
    kind, _, _ = name.partition("://")
    try:
        backend: str = settings.MMSEARCH_STORES[kind]["BACKEND"]
        module, _, _ = backend.rpartition(".")
        found = find_spec(module) is not None  # importing it would import faiss
    except (KeyError, ImportError, ValueError):
        found = False
    if not found:
        return [
            Error(
                f"MMSEARCH_VECTOR_STORE={name!r} names no vector store.",
                hint=f"Use one of {', '.join(settings.MMSEARCH_STORES)}.",
                id="search.E001",
            )
        ]
    if is_local():
        return []
    messages: list[CheckMessage] = import_string(backend).check(name)
    return messages
