"""A load generator: closed-loop clients over kept connections, in a process of its own.

    python -m benchmarks.load < request.json

Each client sends its next request when the last one is answered. The request on standard input is
`{"port", "path", "clients", "seconds" | null, "texts": [...] | "pictures": [...], "beside": {}}`:
bodies are used once each, and the load ends with them or with the time. It shares no interpreter
lock with what it measures, and reaches the loopback alone.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

BOUNDARY: Final = "mmsearch-benchmark-boundary"
LONGEST: Final = 300.0
"""Seconds after which a load ends whatever it was asked."""
CONTENT_LENGTH: Final = re.compile(rb"^content-length: *(\d+)", re.IGNORECASE | re.MULTILINE)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0..1) of all do not exceed (nearest rank).

    Raises ValueError where there are none.
    """
    if not values:
        raise ValueError("No values: there is no percentile.")
    return sorted(values)[max(1, math.ceil(share * len(values))) - 1]


@dataclasses.dataclass(frozen=True)
class LoadResult:
    """Outcome of a load: every answered request's duration, in seconds."""

    durations: Sequence[float]
    elapsed: float
    """Seconds from the first request to the last answer."""
    errors: int
    """Answers other than 200."""

    def summary(self) -> dict[str, float]:
        """Milliseconds at P50, P90 and P99, good answers a second, and counts."""
        return {
            "p50": percentile(self.durations, 0.50) * 1000,
            "p90": percentile(self.durations, 0.90) * 1000,
            "p99": percentile(self.durations, 0.99) * 1000,
            "rate": len(self.durations) / self.elapsed,
            "requests": len(self.durations),
            "errors": self.errors,
        }


async def run_load(
    port: int, requests: Iterator[bytes], *, clients: int, seconds: float | None = None
) -> LoadResult:
    """Send `requests` from `clients` connections until they or the `seconds` run out.

    Raises ConnectionError where the server hangs up, TimeoutError where it stops answering.
    """
    durations: list[float] = []
    errors = 0
    began = ended = time.perf_counter()
    deadline = began + min(seconds or LONGEST, LONGEST)

    async def client() -> None:
        nonlocal errors, ended
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in requests:
            started = time.perf_counter()
            writer.write(request)
            await writer.drain()
            status = await _status(reader)
            ended = time.perf_counter()
            if status == 200:
                durations.append(ended - started)
            else:
                errors += 1
            if ended > deadline:
                break
        writer.close()

    async with asyncio.timeout(2 * LONGEST):
        await asyncio.gather(*(client() for _ in range(clients)))
    return LoadResult(durations, ended - began, errors)


async def _status(reader: asyncio.StreamReader) -> int:
    """Status of an answer, read to its end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        length = CONTENT_LENGTH.search(head)
        if length is None:
            raise ValueError(f"The answer has no Content-Length: {head[:200]!r}.")
        await reader.readexactly(int(length[1]))
    except asyncio.IncompleteReadError as exc:
        raise ConnectionError("The server closed a connection that it should keep.") from exc
    return int(head.split(b" ", 2)[1])


def text_request(path: str, text: str, beside: dict[str, Any] | None = None) -> bytes:
    """A POST of a JSON text query, with what is asked `beside` the text."""
    name = "query_text" if path == "/search_text/" else "q"
    return _request(path, "application/json", json.dumps({name: text, **(beside or {})}).encode())


def picture_form(name: str, jpeg: bytes, **fields: str) -> tuple[bytes, str]:
    """A multipart form with a picture under `image_file`: body and content type."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
        for key, value in fields.items()
    ]
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image_file";'
        f' filename="{name}"\r\nContent-Type: image/jpeg\r\n\r\n'
    )
    body = "".join([*parts, head]).encode() + jpeg + f"\r\n--{BOUNDARY}--\r\n".encode()
    return body, f"multipart/form-data; boundary={BOUNDARY}"


def picture_request(path: str, picture: Path) -> bytes:
    """A POST of a picture file; its item id is the file's stem."""
    fields = {} if path == "/search_image/" else {"item_id": picture.stem}
    body, content_type = picture_form(picture.name, picture.read_bytes(), **fields)
    return _request(path, content_type, body)


def _request(path: str, content_type: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content_type}\r\n"
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
        else (text_request(path, text, asked.get("beside")) for text in asked["texts"])
    )
    load = run_load(asked["port"], requests, clients=asked["clients"], seconds=asked.get("seconds"))
    json.dump(dataclasses.asdict(asyncio.run(load)), sys.stdout)


if __name__ == "__main__":
    main()
