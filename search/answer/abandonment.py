"""Requests that nobody waits for: their queries are not computed."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from embeddings.query_vectors import client_has_gone


def peer_has_closed(connection: socket.socket) -> bool:
    """Whether the other side has closed the connection; looks without waiting or reading."""
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False  # open, and nothing to read
    except OSError:
        return True


class NoticeAbandonment:
    """Let the encoder's queue look at the client's socket, where the server shows it to us."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        connection = request.META.get("gunicorn.socket")
        if connection is None:
            return self.get_response(request)
        token = client_has_gone.set(partial(peer_has_closed, connection))
        try:
            return self.get_response(request)
        finally:
            client_has_gone.reset(token)
