"""One HTTP request on its way in, and the answer where it is refused before anyone reads it."""

from __future__ import annotations

import json
import logging
from typing import Final

from waitress.parser import HTTPRequestParser
from waitress.task import ErrorTask
from waitress.utilities import BadRequest, Error

CHUNK_LINE_BYTES: Final = 8 * 2**10
"""Of a chunk's size line, or of the trailer."""
BODY_IN_MEMORY: Final = 64 * 2**10
"""Bytes; larger bodies are buffered in a file."""

logger = logging.getLogger(__name__)


class BodyTooLarge(Error):  # type: ignore[misc]  # noqa: N818
    code = 413
    reason = "Content Too Large"


class Busy(Error):  # type: ignore[misc]  # noqa: N818
    code = 503
    reason = "Service Unavailable"


class DiskFull(Error):  # type: ignore[misc]  # noqa: N818
    code = 507
    reason = "Insufficient Storage"


class Request(HTTPRequestParser):  # type: ignore[misc]  # untyped
    """A request on its way in, refused as soon as it is too large or cannot be kept."""

    _has_place = False

    def received(self, data: bytes) -> int:
        try:
            consumed: int = super().received(data)
        except ValueError:
            self._refuse(BadRequest("The first line or a header cannot be read."))
        except OSError as exc:
            self._refuse(DiskFull(f"The body cannot be kept: {exc.strerror}."))
        else:
            if self.error is None and self.headers_finished:
                self._judge()
        if self.error is None:
            return consumed
        self.expect_continue = False  # or the parser would wait for a body
        return len(data)

    @property
    def reserved(self) -> int:
        """Bytes that the body may come to take in a file."""
        if self.error is not None or not self.headers_finished:
            return 0
        size: int = self.adj.body_limit(self.path) if self.chunked else self.content_length
        return size if size > BODY_IN_MEMORY else 0

    def _judge(self) -> None:
        limit: int = self.adj.body_limit(self.path)
        size = max(self.content_length, self.body_bytes_received)
        receiver = self.body_rcv
        if size > limit:
            what = "is longer" if self.chunked else f"has {size:,} bytes"
            self._refuse(BodyTooLarge(f"The body {what}; at most {limit:,} are accepted."))
        elif not self._has_place and self.reserved and not self.adj.has_room():
            self._refuse(Busy("Too many large bodies are on their way in: send it again soon."))
        elif self.chunked and len(receiver.control_line + receiver.trailer) > CHUNK_LINE_BYTES:
            self._refuse(BadRequest("A chunk's first line, or the trailer, is too long."))
        self._has_place = True

    def _refuse(self, error: Error) -> None:
        self.error = error
        self.completed = True


class Refusal(ErrorTask):  # type: ignore[misc]  # untyped
    """The answer to a request that the application never sees: JSON, or text for browsers."""

    def execute(self) -> None:
        error, request = self.request.error, self.request
        is_page = "text/html" in request.headers.get("ACCEPT", "")
        text = error.body if is_page else json.dumps({"detail": error.body})
        kind = "text/plain; charset=utf-8" if is_page else "application/json"
        body = text.encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers += [("Content-Type", kind), ("Cache-Control", "no-store")]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)
        path = getattr(request, "path", "")
        logger.warning("A request for %r was refused: %d %s", path, error.code, error.body)
