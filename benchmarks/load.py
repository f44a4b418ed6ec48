"""A lean load generator: closed-loop clients over keep-alive connections, in one thread.

    python -m benchmarks.load < request.json

Each client sends its next request when the last one is answered. The request on standard input is
`{"port", "path", "clients", "seconds" | null, "texts": [...] | "pictures": [...]}`: bodies are used
once each, and the load ends with them or with the time. It runs in a process of its own, so that
it never shares an interpreter lock with what it measures, and reaches the loopback alone.
"""

from __future__ import annotations

import dataclasses
import json
import selectors
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.latency import LoadResult

HOST: Final = "127.0.0.1"
LONGEST: Final = 300.0
"""Seconds after which a load ends whatever it was asked."""
BOUNDARY: Final = "mmsearch-benchmark-boundary"
CHUNK: Final = 1 << 20
"""Bytes handed to the socket at a time."""


@dataclasses.dataclass
class _Client:
    """One connection and the request that is under way on it."""

    connection: socket.socket
    unsent: memoryview = dataclasses.field(default_factory=lambda: memoryview(b""))
    answer: bytearray = dataclasses.field(default_factory=bytearray)
    started: float = 0.0


def run_load(
    port: int, requests: Iterator[bytes], *, clients: int, seconds: float | None = None
) -> LoadResult:
    """Send `requests` from `clients` connections until they or the `seconds` run out.

    Raises ConnectionError where the server hangs up, TimeoutError where it stops answering.
    """
    durations: list[float] = []
    errors = 0
    began = ended = time.perf_counter()
    deadline = began + min(seconds or LONGEST, LONGEST)
    with selectors.DefaultSelector() as selector:
        waiting = 0
        for _ in range(clients):
            client = _connect(selector, port)
            if _send_next(selector, client, requests):
                waiting += 1
            else:
                _leave(selector, client)
        while waiting:
            events = selector.select(timeout=LONGEST)
            if not events:
                raise TimeoutError(f"No answer on port {port} for {LONGEST:g} s.")
            for key, mask in events:
                client = key.data
                if mask & selectors.EVENT_WRITE:
                    _go_on_sending(selector, client)
                    continue
                status = _receive(client)
                if status is None:
                    continue
                ended = time.perf_counter()
                if status == 200:
                    durations.append(ended - client.started)
                else:
                    errors += 1
                if ended > deadline or not _send_next(selector, client, requests):
                    waiting -= 1
                    _leave(selector, client)
    return LoadResult(tuple(durations), ended - began, errors)


def _connect(selector: selectors.BaseSelector, port: int) -> _Client:
    connection = socket.create_connection((HOST, port), timeout=10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setblocking(False)  # noqa: FBT003  the socket module's own signature
    client = _Client(connection)
    selector.register(connection, selectors.EVENT_READ, client)
    return client


def _leave(selector: selectors.BaseSelector, client: _Client) -> None:
    selector.unregister(client.connection)
    client.connection.close()


def _send_next(
    selector: selectors.BaseSelector, client: _Client, requests: Iterator[bytes]
) -> bool:
    """Begin the next request; False where there is none."""
    request = next(requests, None)
    if request is None:
        return False
    client.answer.clear()
    client.unsent = memoryview(request)
    client.started = time.perf_counter()
    _go_on_sending(selector, client)
    return True


def _go_on_sending(selector: selectors.BaseSelector, client: _Client) -> None:
    try:
        while client.unsent:
            client.unsent = client.unsent[client.connection.send(client.unsent[:CHUNK]) :]
    except BlockingIOError:
        selector.modify(client.connection, selectors.EVENT_WRITE, client)
    else:
        selector.modify(client.connection, selectors.EVENT_READ, client)


def _receive(client: _Client) -> int | None:
    """Read what is there; the HTTP status once the answer is complete."""
    received = client.connection.recv(1 << 16)
    if not received:
        raise ConnectionError("The server closed a connection that it should keep.")
    client.answer += received
    head_end = client.answer.find(b"\r\n\r\n")
    if head_end < 0:
        return None
    head = bytes(client.answer[:head_end])
    if len(client.answer) < head_end + 4 + content_length(head):
        return None
    return int(head.split(b" ", 2)[1])


def content_length(head: bytes) -> int:
    """Length of the body that a response's head announces. Raises ValueError without one."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    raise ValueError(f"The answer has no Content-Length: {head[:200]!r}.")


def text_request(path: str, text: str, *, top_n: int = 5) -> bytes:
    """A POST of a JSON text query."""
    body = json.dumps({"query_text": text, "top_n": top_n}).encode()
    return _request(path, "application/json", body)


def picture_request(path: str, picture: Path) -> bytes:
    """A POST of a picture file as a multipart form; its item id is the file's stem."""
    parts = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="item_id"\r\n\r\n{picture.stem}\r\n'
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image_file";'
        f' filename="{picture.name}"\r\nContent-Type: image/jpeg\r\n\r\n'
    ).encode()
    body = parts + picture.read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode()
    return _request(path, f"multipart/form-data; boundary={BOUNDARY}", body)


def _request(path: str, content_type: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def main() -> None:
    """Run the load on standard input's request; the result as JSON."""
    asked: dict[str, Any] = json.load(sys.stdin)
    path = asked["path"]
    requests = (
        (picture_request(path, Path(name)) for name in asked["pictures"])
        if "pictures" in asked
        else (text_request(path, text) for text in asked["texts"])
    )
    result = run_load(
        asked["port"], requests, clients=asked["clients"], seconds=asked.get("seconds")
    )
    json.dump(dataclasses.asdict(result), sys.stdout)


if __name__ == "__main__":
    main()
