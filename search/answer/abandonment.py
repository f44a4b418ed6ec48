"""Requests that nobody waits for: their queries are not computed, and that is no error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from embeddings.batching import QueryAbandoned
from embeddings.query_vectors import client_has_gone

CLIENT_CLOSED_REQUEST: Final = 499
"""The status that logs and metrics show, as proxies do; nobody receives it."""


class NoticeAbandonment:
    """Let the encoder's queue ask the server whether the client is still there."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        token = client_has_gone.set(request.META.get("waitress.client_disconnected"))
        try:
            return self.get_response(request)
        finally:
            client_has_gone.reset(token)

    def process_exception(self, _request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """End a request whose query was not computed."""
        if isinstance(exception, QueryAbandoned):
            return HttpResponse(status=CLIENT_CLOSED_REQUEST)
        return None
