from __future__ import annotations

import socket

import pytest
from django.http import HttpRequest, HttpResponse

from embeddings.query_vectors import client_has_gone
from search.answer.abandonment import NoticeAbandonment, peer_has_closed


def test_a_closed_connection_is_noticed_and_an_open_one_left_unread() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        assert not peer_has_closed(ours)
        theirs.send(b"next request")
        assert not peer_has_closed(ours)
        assert ours.recv(100) == b"next request"
        theirs.close()
        assert peer_has_closed(ours)
    assert peer_has_closed(ours)


def test_the_socket_is_watched_during_its_request_only() -> None:
    ours, theirs = socket.socketpair()
    seen: list[bool] = []

    def answer(_request: HttpRequest) -> HttpResponse:
        watch = client_has_gone.get()
        assert watch is not None
        seen.append(watch())
        theirs.close()
        seen.append(watch())
        raise LookupError

    request = HttpRequest()
    request.META["gunicorn.socket"] = ours
    with ours, pytest.raises(LookupError):
        NoticeAbandonment(answer)(request)

    assert seen == [False, True]
    assert client_has_gone.get() is None
