"""Addresses in answers: absolute, so that a client need not put them together."""

from __future__ import annotations

from urllib.parse import quote

from django.urls import reverse
from rest_framework.request import Request

from catalog.models import Item


def item_url(request: Request, item_id: str) -> str:
    """The item in the API."""
    return f"{request.build_absolute_uri(reverse('api-items'))}{quote(item_id, safe='')}/"


def image_url(request: Request, item: Item) -> str | None:
    """The picture as it was given, or None."""
    return request.build_absolute_uri(item.image.url) if item.image else None


def thumbnail_url(request: Request, item: Item) -> str | None:
    """The picture as pages show it, or None."""
    preview = item.preview_file
    return request.build_absolute_uri(preview.url) if preview else None
