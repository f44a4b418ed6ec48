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

import psutil
import pytest

from tests.processes import PATIENCE, ROOT, Installation, kill_tree

BULK = "/api/v1/items/bulk/"


@dataclass
class Server:
    """gunicorn as it is configured, on a free port."""

    address: tuple[str, int]
    process: subprocess.Popen[bytes]

    def connect(self, *, receive_buffer: int = 0) -> socket.socket:
        """A connection; reading from it gives up after PATIENCE seconds."""
        client = socket.socket()
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(PATIENCE)
        client.connect(self.address)
        return client

    def request(self, method: str, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(*self.address, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def memory(self) -> int:
        """Bytes resident in the process that serves."""
        (worker,) = psutil.Process(self.process.pid).children()
        return int(worker.memory_info().rss)


@contextlib.contextmanager
def serve(data: Path, **environment: str) -> Iterator[Server]:
    """A server on a data directory of its own."""
    installation = Installation(data)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        (data / "web.log").open("wb") as log,
    ):
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "gunicorn",
                "--config=mmsearch_project/gunicorn_conf.py",
                f"--bind=fd://{listener.fileno()}",
            ],
            cwd=ROOT,
            env=installation.environment | environment,
            pass_fds=[listener.fileno()],
            stdout=log,
            stderr=log,
        )
        served = Server(listener.getsockname(), process)
        try:
            assert served.request("GET", "/healthz") == (200, b'{"status":"ok"}')
            yield served
        finally:
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


@pytest.mark.parametrize("chunked", [True, False])
def test_a_client_may_wait_for_each_outcome(server: Server, chunked: bool) -> None:
    lines = [b'{"item_id": "s%d", "caption": "x"}\n' % number for number in range(3)]
    with server.connect() as client:
        begin(
            client,
            "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(b''.join(lines))}",
        )
        answer = http.client.HTTPResponse(client)
        for number, line in enumerate(lines):
            client.sendall(chunk(line) if chunked else line)
            if number == 0:
                answer.begin()
                assert answer.status == 200
            outcome = json.loads(answer.readline())
            assert (outcome["line"], outcome["item_id"]) == (number + 1, f"s{number}")
        if chunked:
            client.sendall(b"0\r\n\r\n")
        assert answer.read() == b""


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


def test_a_client_that_goes_leaves_what_it_sent(server: Server) -> None:
    with server.connect() as client:
        begin(client, "Content-Length: 1000000")
        client.sendall(b'{"item_id": "left", "caption": "x"}\n{"item_id": "cut')
        answer = http.client.HTTPResponse(client)
        answer.begin()
        assert json.loads(answer.readline())["item_id"] == "left"
    status, item = server.request("GET", "/api/v1/items/left/")
    assert (status, json.loads(item)["state"]) == (200, "pending")
    assert server.request("GET", "/api/v1/items/cut/")[0] == 404


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


def test_several_processes_add_up_their_counts(tmp_path: Path) -> None:
    with serve(tmp_path, WEB_CONCURRENCY="2") as served:
        requests = 1  # `serve` asked once
        counts = tmp_path / "metrics"
        while sum(b"/healthz" in file.read_bytes() for file in counts.glob("counter_*.db")) < 2:
            served.request("GET", "/healthz")
            requests += 1
            assert requests < 1000, "one process answered everything"
        _, text = served.request("GET", "/metrics")
    counted = 'mmsearch_http_requests_total{method="GET",route="/healthz",status="200"} '
    (line,) = [line for line in text.decode().splitlines() if line.startswith(counted)]
    assert float(line.removeprefix(counted)) == requests
    assert b"process_resident_memory_bytes" in text
