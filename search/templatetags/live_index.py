"""What the live index holds and how well it answers, for the admin's first page."""

from __future__ import annotations

from typing import Any

from django import template

from embeddings.encoders.base import EncoderError
from embeddings.spaces import SpaceError
from search.operations.stats import system_stats

register = template.Library()


@register.inclusion_tag("admin/live_index.html")
def live_index() -> dict[str, Any]:
    """`stats`, or `error` in words where the index cannot be opened."""
    try:
        return {"stats": system_stats(), "error": ""}
    except (EncoderError, SpaceError) as exc:
        return {"stats": None, "error": str(exc)}
