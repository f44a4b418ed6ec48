"""What the API reads: bodies of bounded length and depth."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework import parsers
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser
from rest_framework.utils.json import strict_constant

from search.api.errors import PayloadTooLarge

FORM_OVERHEAD_BYTES = 2**20
"""Room for the other fields and the boundaries beside an image of the largest size."""


BULK_PATH = "/api/v1/items/bulk/"


def max_form_bytes() -> int:
    """Largest body that may carry an image."""
    limit: int = settings.MMSEARCH_MAX_UPLOAD_BYTES
    return limit + FORM_OVERHEAD_BYTES


def max_base64_bytes() -> int:
    """Largest body that may carry an image as base64."""
    return max_form_bytes() * 4 // 3


def max_body_bytes(path: str) -> int:
    """Largest body that any view behind the path accepts; the server reads no more."""
    return settings.MMSEARCH_MAX_BULK_BYTES if path == BULK_PATH else max_base64_bytes()


def refuse_longer_than(limit: int, context: Mapping[str, Any] | None) -> None:
    """Raise PayloadTooLarge, before a byte is read, if the body is longer than `limit` bytes."""
    request = (context or {}).get("request")
    try:
        length = int(request.META.get("CONTENT_LENGTH") or 0) if request is not None else 0
    except ValueError:
        length = 0
    if length > limit:
        raise PayloadTooLarge(f"The body has {length:,} bytes; at most {limit:,} are accepted.")


class JsonParser(BaseParser):
    """JSON of bounded length and depth; a view with `accepts_base64` takes an image's length."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,  # noqa: ARG002
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        view = (parser_context or {}).get("view")
        refuse_longer_than(
            max_base64_bytes()
            if getattr(view, "accepts_base64", False)
            else settings.DATA_UPLOAD_MAX_MEMORY_SIZE,
            parser_context,
        )
        try:
            return json.loads(stream.read(), parse_constant=strict_constant)
        except RecursionError as exc:
            raise ParseError("JSON parse error - nested too deeply.") from exc
        except ValueError as exc:
            raise ParseError(f"JSON parse error - {exc}") from exc


class MultiPartParser(parsers.MultiPartParser):
    """A form with a file, refused as a whole where no acceptable image could fit it."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        refuse_longer_than(max_form_bytes(), parser_context)
        return super().parse(stream, media_type, parser_context)
