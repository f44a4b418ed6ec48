"""One log line a request: who asked what, what came of it, how long it took."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

logger = logging.getLogger(__name__)
QUIET_PATHS = ("/static/", "/healthz", "/readyz", "/metrics")


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
