"""A load generator: closed-loop clients over kept connections.

Each client sends its next request when the last one is answered. Run it `apart` from what it loads.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import percentile

BOUNDARY: Final = "mmsearch-benchmark-boundary"
LONGEST: Final = 300.0
"""Seconds after which a load ends whatever it was asked, and a client no longer waits."""


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


def run_load(
    port: int,
    path: str,
    asked: Sequence[str | Path],
    *,
    clients: int = 1,
    seconds: float = LONGEST,
    beside: Mapping[str, Any] | None = None,
) -> LoadResult:
    """POST texts or picture files, each once, until they or the `seconds` run out.

    `beside`: what is asked beside a text. Raises OSError where the server stops answering.
    """
    remaining = iter(asked)  # of a sequence: threads may share it
    began = time.perf_counter()

    def client(_number: int) -> list[tuple[int, float, float]]:
        """Status, begin and end of each answer."""
        answers = []
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONGEST)
        with contextlib.closing(connection):
            for each in remaining:
                body, content_type = _request(path, each, beside or {})
                started = time.perf_counter()
                connection.request("POST", path, body, {"Content-Type": content_type})
                response = connection.getresponse()
                response.read()
                ended = time.perf_counter()
                answers.append((response.status, started, ended))
                if ended - began > seconds:
                    break
        return answers

    with ThreadPoolExecutor(clients) as pool:
        answers = [answer for each in pool.map(client, range(clients)) for answer in each]
    durations = [ended - started for status, started, ended in answers if status == 200]
    elapsed = max((ended for _, _, ended in answers), default=began) - began
    return LoadResult(durations, elapsed, len(answers) - len(durations))


def _request(path: str, asked: str | Path, beside: Mapping[str, Any]) -> tuple[bytes, str]:
    """Body and content type; a picture's item id is the file's stem."""
    if isinstance(asked, Path):
        fields = {} if path == "/search_image/" else {"item_id": asked.stem}
        return picture_form(asked.name, asked.read_bytes(), **fields)
    name = "query_text" if path == "/search_text/" else "q"
    return json.dumps({name: asked, **beside}).encode(), "application/json"


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
