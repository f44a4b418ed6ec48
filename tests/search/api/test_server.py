"""The bulk endpoint and refusals through the real web server, over real sockets."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.processes import PATIENCE, ROOT, Installation, kill_tree

BULK = "/api/v1/items/bulk/"


@dataclass
class Server:
    """The web process, on a free port."""

    address: tuple[str, int]
    process: subprocess.Popen[bytes]
    log: Path

    def connect(self, *, receive_buffer: int = 0) -> socket.socket:
        """A connection; reading from it gives up after PATIENCE seconds."""
        client = socket.socket()
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(PATIENCE)
        client.connect(self.address)
        return client

    def request(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, bytes]:
        """Status and body of the answer; a body that is an iterator goes in chunks."""
        connection = http.client.HTTPConnection(*self.address, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers, encode_chunked=True)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def memory(self) -> int:
        """Bytes resident in the process that serves."""
        return int(psutil.Process(self.process.pid).memory_info().rss)


@contextlib.contextmanager
def serve(data: Path, *, count: int = 1, **environment: str) -> Iterator[Server]:
    """A server on a data directory of its own."""
    installation = Installation(data)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        (data / "web.log").open("wb") as log,
    ):
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "mmsearch_project.web", str(listener.fileno())],
                cwd=ROOT,
                env=installation.environment | environment,
                pass_fds=[listener.fileno()],
                stdout=log,
                stderr=log,
            )
            for _ in range(count)
        ]
        served = Server(listener.getsockname(), processes[0], data / "web.log")
        try:
            assert served.request("GET", "/healthz") == (200, b'{"status":"ok"}')
            yield served
        finally:
            for process in processes:
                kill_tree(process.pid)
                process.wait(PATIENCE)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("served")) as served:
        yield served


def begin(client: socket.socket, *headers: str) -> None:
    lines = [f"POST {BULK} HTTP/1.1", "Host: localhost", *headers, "", ""]
    client.sendall("\r\n".join(lines).encode())


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def test_a_client_may_read_nothing_before_it_sent_everything(server: Server) -> None:
    line = b'{"item_id": "%s", "caption": 5}\n' % (b"i" * 150)
    count = 100_000
    server.request("GET", "/stats/")
    before = server.memory()
    with server.connect(receive_buffer=4096) as client:
        begin(client, f"Content-Length: {len(line) * count}")
        for _ in range(count // 1000):
            client.sendall(line * 1000)
        answer = http.client.HTTPResponse(client)
        answer.begin()
        outcomes = 0
        size = 0
        for line in answer:
            outcomes += 1
            size += len(line)
    assert outcomes == json.loads(line)["line"] == count
    assert size > 16 * 2**20  # more than the buffers between hold
    assert server.memory() - before < 64 * 2**20


def test_a_connection_serves_on_after_a_bulk_request(server: Server) -> None:
    connection = http.client.HTTPConnection(*server.address, timeout=PATIENCE)
    with contextlib.closing(connection):
        for body in (b'{"caption": "x"}\n', iter([b'{"caption": "x"}\n', b'{"caption": "y"}'])):
            connection.request("POST", BULK, body, encode_chunked=not isinstance(body, bytes))
            lines = connection.getresponse().read().splitlines()
            assert {json.loads(line)["outcome"] for line in lines} <= {"new", "unchanged"}
            connection.request("GET", "/healthz")
            assert json.loads(connection.getresponse().read()) == {"status": "ok"}


def test_a_client_that_goes_before_the_end_changes_nothing(server: Server) -> None:
    with server.connect() as client:
        begin(client, "Content-Length: 1000000")
        client.sendall(b'{"item_id": "left", "caption": "x"}\n{"item_id": "cut')
    assert server.request("GET", "/api/v1/items/left/")[0] == 404


def test_a_client_that_sends_everything_first_still_reads_its_refusal(server: Server) -> None:
    connection = http.client.HTTPConnection(*server.address, timeout=PATIENCE)
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    with contextlib.closing(connection):
        connection.request("POST", "/ingest_stream/", b"x" * (27 * 2**20), form)
        answer = connection.getresponse()
        assert answer.status == 413
        assert json.loads(answer.read())["detail"].startswith("The body has 28,311,552 bytes")
        connection.request("POST", "/search_text/", b"x" * (9 * 2**20), form)
        answer = connection.getresponse()
        assert answer.status == 415


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_body_in_chunks_changes_an_item(server: Server, method: str) -> None:
    item = json.dumps({"item_id": method, "caption": "before", "title": "T"}).encode()
    form = {"Content-Type": "application/json"}
    assert server.request("POST", "/api/v1/items/", item, **form)[0] == 201
    chunks = iter([b'{"caption": ', b'"after"}'])
    status, answer = server.request(method, f"/api/v1/items/{method}/", chunks, **form)
    assert (status, json.loads(answer)["caption"]) == (200, "after")
    status, answer = server.request(method, f"/api/v1/items/{method}/", iter([b""]), **form)
    assert status == 400
    _, answer = server.request("GET", f"/api/v1/items/{method}/")
    assert json.loads(answer)["caption"] == "after"


def test_a_search_is_answered_beside_slow_connections(server: Server) -> None:
    heads = [
        b"GET / HTTP/1.1\r\nHost: loc",
        b"POST /upload/ HTTP/1.1\r\nContent-Length: 9000\r\n\r\nx",
        b"POST /api/v1/items/bulk/ HTTP/1.1\r\nContent-Length: 9000\r\n\r\n{",
        b"POST /search_text/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{",
    ]
    with contextlib.ExitStack() as stack:
        for head in heads * 50:
            stack.enter_context(server.connect()).sendall(head)
        status, answer = server.request(
            "POST",
            "/search_text/",
            b'{"query_text": "red"}',
            **{"Content-Type": "application/json"},
        )
    assert (status, json.loads(answer)["results"]) == (200, [])


@pytest.mark.parametrize("path", ["/upload/", "/", "/admin/login/", "/api/v1/items/", BULK])
def test_a_body_that_no_view_accepts_is_refused_before_it_is_read(
    server: Server, path: str
) -> None:
    with server.connect() as client:
        size = 300 * 2**20
        client.sendall(f"POST {path} HTTP/1.1\r\nContent-Length: {size}\r\n\r\n".encode())
        answer = http.client.HTTPResponse(client)
        answer.begin()
        assert answer.status == 413
        assert json.loads(answer.read())["detail"].startswith("The body has 314,572,800 bytes; at")


def test_several_processes_add_up_their_counts(tmp_path: Path) -> None:
    counts = tmp_path / "metrics"
    counts.mkdir()
    with serve(tmp_path, count=2, PROMETHEUS_MULTIPROC_DIR=str(counts)) as served:
        requests = 1  # `serve` asked once
        while sum(b"/healthz" in file.read_bytes() for file in counts.glob("counter_*.db")) < 2:
            served.request("GET", "/healthz")
            requests += 1
            assert requests < 1000, "one process answered everything"
        _, text = served.request("GET", "/metrics")
    counted = 'mmsearch_http_requests_total{method="GET",route="/healthz",status="200"} '
    (line,) = [line for line in text.decode().splitlines() if line.startswith(counted)]
    assert float(line.removeprefix(counted)) == requests
    assert b"process_resident_memory_bytes" in text
