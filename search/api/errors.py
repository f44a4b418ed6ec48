"""Errors as JSON."""

from __future__ import annotations

from typing import Any

from rest_framework.response import Response
from rest_framework.views import exception_handler as rest_exception_handler


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """REST framework's answer."""
    return rest_exception_handler(exc, context)
