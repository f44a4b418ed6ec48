"""The body of a bulk request on its way through a file."""

from __future__ import annotations

import io
import queue

import pytest

from search.api import spool
from search.api.spool import BodySpool


def spooled(*pieces: bytes) -> BodySpool:
    source = iter([*pieces, b""])
    return BodySpool(lambda: next(source))


@pytest.mark.parametrize("size", [-1, 1, 3, 100])
def test_readline_reads_like_any_stream(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(spool, "PIECE", 4)
    content = b"one\n\ntwo two two\nthree"
    expected = io.BytesIO(content)
    with spooled(content[:5], content[5:6], content[6:]) as body:
        while line := expected.readline(size):
            assert body.readline(size) == line
        assert body.readline(size) == b""
        assert body.position == len(content)


def test_readline_gives_a_line_before_the_body_ends() -> None:
    pieces: queue.Queue[bytes] = queue.Queue()
    with BodySpool(pieces.get) as body:
        pieces.put(b"first\nsec")
        assert body.readline() == b"first\n"
        assert not body.has_line()
        pieces.put(b"ond\n")
        assert body.readline() == b"second\n"
        pieces.put(b"")
        assert body.readline() == b""
        assert body.has_line()  # the end is there


def test_readline_raises_what_reading_the_body_raised() -> None:
    pieces = iter([b"first\n"])

    def read() -> bytes:
        for piece in pieces:
            return piece
        raise ConnectionError("gone")

    with BodySpool(read) as body:
        assert body.readline() == b"first\n"
        with pytest.raises(ConnectionError, match="gone"):
            body.readline()
