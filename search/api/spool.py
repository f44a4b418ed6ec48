"""A request body taken off the wire as fast as it comes, for a reader that is slower.

Many clients send all of a body before they read any of the answer. A server that stops reading
while such a client does not read either waits for ever, once the buffers between them are full.
So a thread moves the body into a temporary file, and the answer is written at its own pace.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Callable
from typing import Any, Final, Self

from django.conf import settings
from django.http import HttpRequest

PIECE: Final = 2**18
"""Bytes kept in memory."""


class BodySpool:
    """The body as a stream of lines, each there as soon as it came. Use as a context manager.

    `readline` is for one thread; it raises what reading the body raised.
    """

    def __init__(self, read: Callable[[], bytes]) -> None:
        """`read` returns what has come, waiting for some; `b""` at the end."""
        self._read = read
        self._file = tempfile.TemporaryFile(dir=settings.MMSEARCH_DATA_DIR)  # noqa: SIM115
        self._news = threading.Condition()
        self._written = 0
        self._lines_written = 0
        self._ended = False
        self._error: Exception | None = None
        self._piece = b""
        self._at = 0
        self._piece_end = 0
        self._lines_read = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._fill, name="bulk-body", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._news:
            self._ended = True
            self._file.close()

    @property
    def position(self) -> int:
        """Bytes read so far."""
        return self._piece_end - len(self._piece) + self._at

    def has_line(self) -> bool:
        """Whether `readline` would answer at once."""
        with self._news:
            return self._ended or self._lines_written > self._lines_read

    def readline(self, size: int = -1, /) -> bytes:
        """The next line with its end, or `size` bytes of it; `b""` at the end."""
        parts: list[bytes] = []
        wanted = size if size >= 0 else sys.maxsize
        while wanted > 0 and (self._at < len(self._piece) or self._next_piece()):
            end = self._piece.find(b"\n", self._at) + 1 or len(self._piece)
            part = self._piece[self._at : min(end, self._at + wanted)]
            self._at += len(part)
            wanted -= len(part)
            parts.append(part)
            if part.endswith(b"\n"):
                self._lines_read += 1
                break
        return b"".join(parts)

    def _next_piece(self) -> bool:
        with self._news:
            self._news.wait_for(lambda: self._ended or self._written > self._piece_end)
            available = self._written - self._piece_end
            if not available and self._error is not None:
                raise self._error
        self._piece = os.pread(self._file.fileno(), min(available, PIECE), self._piece_end)
        self._piece_end += len(self._piece)
        self._at = 0
        return bool(self._piece)

    def _fill(self) -> None:
        error: Exception | None = None
        try:
            while piece := self._read():
                with self._news:
                    if self._ended:  # nobody reads any more
                        return
                    self._file.write(piece)
                    self._file.flush()
                    self._written += len(piece)
                    self._lines_written += piece.count(b"\n")
                    self._news.notify()
        except Exception as exc:  # noqa: BLE001  raised where the body is read
            error = exc
        with self._news:
            self._ended, self._error = True, error
            self._news.notify()


def body_reader(request: HttpRequest) -> Callable[[], bytes]:
    """A function that returns what has come of the body, without waiting for more than some.

    WSGI has no such call: `read(n)` waits for all n bytes, so that a client which sends a line and
    waits for its outcome would wait for ever. gunicorn's own readers have one.
    """
    body = request.META.get("wsgi.input")
    reader = getattr(body, "reader", None)
    if type(reader).__module__ != "gunicorn.http.body":
        return lambda: request.read(PIECE)
    if hasattr(reader, "parser"):
        return lambda: _next_chunk(reader)
    return lambda: _next_part(reader)


def _next_part(reader: Any) -> bytes:
    """Whatever is there of a body of known length."""
    if not reader.length:
        return b""
    data: bytes = reader.unreader.read(None, read_ahead=reader.length)
    if not data:
        raise ConnectionError(f"The body ended {reader.length:,} bytes early.")
    if len(data) > reader.length:  # the next request is behind it
        reader.unreader.unread(data[reader.length :])
        data = data[: reader.length]
    reader.length -= len(data)
    return data


def _next_chunk(reader: Any) -> bytes:
    """Whatever is there of a chunked body."""
    for data in reader.parser:
        if data:
            return bytes(data)
    return b""
