"""Around every request: its log line, and what a page may load."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from django.http import HttpRequest
from django.http.response import HttpResponseBase

logger = logging.getLogger(__name__)
QUIET_PATHS: Final = ("/static/", "/healthz", "/readyz", "/metrics")
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self';"
    " frame-ancestors 'none'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data: blob:"  # previews of pictures not yet uploaded
)
"""Everything comes from this server; no inline script runs, so a caption cannot smuggle one in."""


class RequestLog:
    """Log every request's method, path, status and response time."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        response = self.get_response(request)
        elapsed = time.perf_counter() - started
        level = logging.DEBUG if request.path.startswith(QUIET_PATHS) else logging.INFO
        logger.log(
            level,
            "%s %s answered %d in %.1f ms",
            request.method,
            request.path,
            response.status_code,
            elapsed * 1000,
        )
        return response


class ContentSecurityPolicy:
    """Send the policy with every answer that brings none of its own."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        return response
