"""The server's limits, over real sockets and an application of a few lines."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from mmsearch_project import http_server
from mmsearch_project.http_server import Server

DEADLINE = 60.0
LIMIT = 300_000


class Application:
    """Answers with the size of the body; `/held` waits for `gate`, `/large` answers at length."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.gate = threading.Event()
        self.has_gone: Callable[[], bool] = lambda: False

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        size = len(environ["wsgi.input"].read())
        if environ["PATH_INFO"] == "/held":
            self.has_gone = environ["waitress.client_disconnected"]
            self.entered.release()
            assert self.gate.wait(DEADLINE)
        start_response("200 OK", [("Content-Type", "text/plain")])
        if environ["PATH_INFO"] == "/large":
            return (b"x" * 2**20 for _ in range(64))
        return [b"%d" % size]


@pytest.fixture
def application() -> Application:
    return Application()


@pytest.fixture
def server(application: Application) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        served = Server(application, listener, body_limit=lambda _path: LIMIT)
        thread = threading.Thread(target=served.run)
        thread.start()
        yield served
        application.gate.set()
        served.stop()
        thread.join(DEADLINE)
        assert not thread.is_alive()
        served.task_dispatcher.shutdown()
        served.trigger.close()


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.effective_port), timeout=DEADLINE)


def ask(server: Server, method: str = "GET", path: str = "/", **sent: Any) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.effective_port, timeout=DEADLINE)
    with contextlib.closing(connection):
        connection.request(method, path, **sent)
        answer = connection.getresponse()
        return answer.status, answer.read()


def answer_to(client: socket.socket) -> tuple[int, Any]:
    answer = http.client.HTTPResponse(client)
    answer.begin()
    return answer.status, json.loads(answer.read())


@pytest.mark.parametrize(
    "sent",
    [b"GET / HTTP/1.1\r\nX: ", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n1", b"", b"/large"],
)
def test_a_client_that_is_too_slow_is_given_up(
    server: Server, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(http_server, "WINDOW", 0.1)
    monkeypatch.setattr(
        http_server, "PATIENCE", {"header": 0.1, "rest": 0.1, "discard": 0.1, "work": 60.0}
    )
    with connect(server) as client:
        if sent == b"/large":  # asked for, and not read while a thread waits
            client.sendall(b"GET /large HTTP/1.1\r\n\r\n")
            pause = threading.Event()
            while not server.task_dispatcher.active_count:
                pause.wait(0.01)
            while server.task_dispatcher.active_count:
                pause.wait(0.01)
            with contextlib.suppress(ConnectionResetError):
                while client.recv(2**20):
                    pass
        else:
            client.sendall(sent)
            assert client.recv(1) == b""


def test_a_client_has_a_limited_number_of_connections(
    server: Server, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "CLIENT_CONNECTIONS", 3)
    with contextlib.ExitStack() as stack:
        busy = stack.enter_context(connect(server))
        busy.sendall(b"GET /held HTTP/1.1\r\n\r\n")
        assert application.entered.acquire(timeout=DEADLINE)
        resting = stack.enter_context(connect(server))
        assert ask(server) == (200, b"0")
        for _ in range(2):
            stack.enter_context(connect(server))
        assert resting.recv(1) == b""  # it had waited longest
        assert ask(server) == (200, b"0")
        application.gate.set()
        assert busy.recv(15) == b"HTTP/1.1 200 OK"


@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_above_the_limit_is_refused_and_the_refusal_read(
    server: Server, chunked: bool
) -> None:
    body = b"x" * (16 * 2**20)  # more than the buffers between hold
    sent = iter([body[:LIMIT], body[LIMIT:]]) if chunked else body
    status, answer = ask(server, "POST", body=sent, encode_chunked=True)
    assert status == 413
    what = "is longer" if chunked else "has 16,777,216 bytes"
    assert json.loads(answer) == {"detail": f"The body {what}; at most 300,000 are accepted."}
    assert ask(server, "POST", body=body[:LIMIT]) == (200, b"300000")


def test_a_page_is_told_in_words(server: Server) -> None:
    status, answer = ask(
        server, "POST", body=b"x" * (LIMIT + 1), headers={"Accept": "text/html,*/*"}
    )
    assert (status, answer) == (413, b"The body has 300,001 bytes; at most 300,000 are accepted.")


def test_a_client_that_asks_first_is_refused_before_it_sends(server: Server) -> None:
    with connect(server) as client:
        client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 999999\r\nExpect: 100-continue\r\n\r\n")
        assert answer_to(client)[0] == 413


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET http://[::1 HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 100_000,
        b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    ],
)
def test_what_cannot_be_read_is_refused(server: Server, request_head: bytes) -> None:
    with connect(server) as client:
        client.sendall(request_head)
        status, answer = answer_to(client)
    assert status in {400, 431}
    assert answer["detail"]
    assert ask(server) == (200, b"0")


def test_large_bodies_share_a_limit_and_small_ones_pass(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "BODIES_BYTES", LIMIT)
    with connect(server) as client:
        client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 200000\r\nExpect: 100-continue\r\n\r\n")
        assert client.recv(12) == b"HTTP/1.1 100"
        assert ask(server, "POST", body=b"x" * 200_000)[0] == 503
        assert ask(server, "POST", body=b"x" * 1000) == (200, b"1000")
    assert ask(server)[0] == 200  # so that the closing above has been seen
    assert ask(server, "POST", body=b"x" * 200_000) == (200, b"200000")


def test_a_full_disk_is_told(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/proc")  # nothing can be written there
    status, answer = ask(server, "POST", body=b"x" * 200_000)
    assert status == 507
    assert json.loads(answer)["detail"].startswith("The body cannot be kept: ")


def test_head_answers_headers_alone(server: Server) -> None:
    with connect(server) as client:
        client.sendall(b"HEAD /large HTTP/1.1\r\nConnection: close\r\n\r\n")
        received = b"".join(iter(lambda: client.recv(4096), b""))
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert b"xx" not in received


def test_the_application_can_see_that_a_client_has_gone(
    server: Server, application: Application
) -> None:
    with connect(server) as client:
        client.sendall(b"GET /held HTTP/1.1\r\n\r\n")
        assert application.entered.acquire(timeout=DEADLINE)
        assert not application.has_gone()
    pause = threading.Event()
    while not application.has_gone():
        pause.wait(0.01)


def test_stopping_waits_for_what_is_in_hand_alone(server: Server, application: Application) -> None:
    with connect(server) as busy, connect(server) as slow, connect(server) as resting:
        slow.sendall(b"GET / HTTP")
        busy.sendall(b"GET /held HTTP/1.1\r\n\r\n")
        assert application.entered.acquire(timeout=DEADLINE)
        assert ask(server) == (200, b"0")  # so that all three are known
        server.stop()
        assert slow.recv(1) == b""
        assert resting.recv(1) == b""
        application.gate.set()
        assert busy.recv(15) == b"HTTP/1.1 200 OK"
