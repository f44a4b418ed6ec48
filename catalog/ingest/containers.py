"""What a picture's file says of itself, read without decoding: whether it is whole, what it costs.

Decoders stop where the first frame ends, and pass over what a file piles up before it. Here every
part is counted, and a file that ends in the middle of one is refused.
"""

from __future__ import annotations

import dataclasses
import re
import struct
from typing import Final

MAX_PARTS: Final = 200_000
"""Chunks, segments, blocks or strips; a decoder takes microseconds for each, and memory."""
MAX_PAGES: Final = 10_000

_CUT: Final = "it ends in the middle"
_JPEG_MARKER: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_TIFF_CODES: Final = {3: "H", 4: "L", 16: "Q"}


class Malformed(ValueError):  # noqa: N818  a fact about the file
    """The file is cut short, or made to be expensive; the message says which."""


@dataclasses.dataclass(frozen=True)
class Container:
    """What the outside of a file tells."""

    scans: int = 1
    """Times that a decoder goes over the whole picture."""
    canvas: tuple[int, int] | None = None
    """Width and height, where the decoder takes its memory as soon as it is opened."""


def inspect(data: bytes) -> Container:
    """Walk through a file's parts. Raises Malformed; files of other kinds pass."""
    if data.startswith(b"\xff\xd8\xff"):
        return Container(scans=_jpeg_scans(data))
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return Container(canvas=_webp_canvas(data))
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        _walk_png(data)
    elif data.startswith((b"GIF87a", b"GIF89a")):
        _walk_gif(data)
    elif data[:4] in {b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"}:
        _walk_tiff(data)
    elif data[4:8] == b"ftyp":
        _walk_boxes(data)
    return Container()


def _jpeg_scans(data: bytes) -> int:
    """Scans up to the end of the picture; a decoder looks for markers in the same way."""
    scans = position = 0
    for _ in range(MAX_PARTS):
        marker = _JPEG_MARKER.search(data, position)
        if marker is None or marker.group() == b"\xff\xd9":
            return max(scans, 1)
        position = marker.end()
        if marker.group() not in {b"\xff\xd8", b"\xff\x01"}:
            position += max(int.from_bytes(data[position : position + 2]), 2)
        scans += marker.group() == b"\xff\xda"
    raise Malformed(f"it has more than {MAX_PARTS:,} segments")


def _webp_canvas(data: bytes) -> tuple[int, int] | None:
    if len(data) < 8 + int.from_bytes(data[4:8], "little"):
        raise Malformed(_CUT)
    kind, body = data[12:16], data[20:30]
    if kind == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", body[6:10].ljust(4, b"\0"))
        return width & 0x3FFF, height & 0x3FFF
    return None


def _walk_png(data: bytes) -> None:
    position = 8
    for _ in range(MAX_PARTS):
        length, kind = (
            int.from_bytes(data[position : position + 4]),
            data[position + 4 : position + 8],
        )
        position += 12 + length
        if position > len(data) or len(kind) < 4:
            raise Malformed(_CUT)
        if kind == b"IEND":
            return
    raise Malformed(f"it has more than {MAX_PARTS:,} chunks")


def _walk_gif(data: bytes) -> None:
    position = 13 + _gif_colours(data, 10)
    blocks = 0
    while blocks < MAX_PARTS:
        kind = data[position : position + 1]
        if not kind:
            raise Malformed(_CUT)
        if kind == b";":
            return
        if kind == b",":
            position += 10 + _gif_colours(data, position + 9) + 1
        elif kind == b"!":
            position += 2
        else:
            position += 1  # decoders pass over it
            blocks += 1
            continue
        while position < len(data) and data[position] and blocks < MAX_PARTS:
            position += 1 + data[position]
            blocks += 1
        position += 1
        blocks += 1
    raise Malformed(f"it has more than {MAX_PARTS:,} blocks")


def _gif_colours(data: bytes, flags_at: int) -> int:
    """Bytes of the colour table that the flags announce."""
    flags = data[flags_at] if flags_at < len(data) else 0
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _walk_tiff(data: bytes) -> None:
    """Follow the chain of pages: every directory, and every strip but the first page's, is there.

    The first page's strips are left to the decoder, which is the better judge of odd ones.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = 43 in data[2:4]
    word, count_code, count_size, entry_size = ("Q", "Q", 8, 20) if big else ("L", "H", 2, 12)
    width = struct.calcsize(order + word)
    try:
        (offset,) = struct.unpack_from(order + word, data, 8 if big else 4)
        seen: set[int] = set()
        while offset:
            if offset in seen or len(seen) >= MAX_PAGES:
                raise Malformed("its chain of pages has no end")
            (entries,) = struct.unpack_from(order + count_code, data, offset)
            end = offset + count_size + entries * entry_size
            if end + width > len(data):
                raise Malformed(_CUT)
            _check_strips(data, order, word, (offset + count_size, end, entry_size), bool(seen))
            seen.add(offset)
            (offset,) = struct.unpack_from(order + word, data, end)
    except struct.error as exc:
        raise Malformed(_CUT) from exc


def _check_strips(
    data: bytes, order: str, word: str, entries: tuple[int, int, int], in_range: bool
) -> None:
    """Check the number of a page's strips or tiles and, if asked, that they are in the file."""
    width = struct.calcsize(order + word)
    found: dict[int, tuple[int, ...]] = {}
    for at in range(*entries):
        tag, kind = struct.unpack_from(order + "HH", data, at)
        if tag not in {273, 279, 324, 325} or kind not in _TIFF_CODES:
            continue
        (count,) = struct.unpack_from(order + word, data, at + 4)
        if count > MAX_PARTS:
            raise Malformed(f"it has more than {MAX_PARTS:,} strips")
        where = at + 4 + width
        if count * struct.calcsize(order + _TIFF_CODES[kind]) > width:
            (where,) = struct.unpack_from(order + word, data, where)
        if in_range:
            found[tag] = struct.unpack_from(f"{order}{count}{_TIFF_CODES[kind]}", data, where)
    for offsets, sizes in ((273, 279), (324, 325)):
        pairs = zip(found.get(offsets, ()), found.get(sizes, ()), strict=False)
        if any(begin + size > len(data) for begin, size in pairs):
            raise Malformed(_CUT)


def _walk_boxes(data: bytes) -> None:
    """AVIF and HEIC: the boxes of the file's top level are whole."""
    position = 0
    for _ in range(MAX_PARTS):
        if position >= len(data):
            return
        length = int.from_bytes(data[position : position + 4])
        kind = data[position + 4 : position + 8]
        if length == 1:
            length = int.from_bytes(data[position + 8 : position + 16])
        elif length == 0:  # up to the end
            length = len(data) - position
        if length < 8 or position + length > len(data):
            if kind in {b"meta", b"mdat", b"moov", b"moof"}:
                raise Malformed(_CUT)
            return  # no box, but something behind the last one
        if kind == b"meta" and b"iovl" in data[position : position + length]:
            raise Malformed("it lays several pictures over each other")
        position += length
    raise Malformed(f"it has more than {MAX_PARTS:,} boxes")
