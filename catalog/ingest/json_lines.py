"""JSON Lines: one object an item; in files with named pictures, over HTTP with base64 ones."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol

from django.conf import settings

from catalog.ingest.folders import ImageFolder
from catalog.ingest.records import (
    ImageInput,
    InvalidField,
    ItemRecord,
    Outcome,
    UploadedImage,
    decode_base64,
    rejected,
)
from catalog.ingest.text_files import open_bytes
from catalog.ingest.translation import (
    KEYS,
    LeftOut,
    image_name,
    named_image,
    text,
    to_record,
)
from catalog.spelling import unknown_names

MAX_LINE: Final = 2**20
"""Bytes of a line without a picture in it."""

RowReader = Callable[[Mapping[str, object], int], ItemRecord | Outcome]
"""Makes a record of a row and its line."""


class ByteStream(Protocol):
    """What is read here: a binary file, or an HTTP request."""

    def readline(self, size: int = ..., /) -> bytes: ...


def read_file(
    path: Path, folder: ImageFolder, notices: list[str]
) -> Iterator[ItemRecord | Outcome]:
    """The objects of a file; which keys mean nothing is among the notices at its end."""
    left_out = LeftOut()

    def record(row: Mapping[str, object], line: int) -> ItemRecord | Outcome:
        left_out.add(row)
        return to_record(row, line=line, image=lambda row: named_image(row, folder))

    with open_bytes(path) as stream:
        yield from _read(stream, MAX_LINE, record)
    notices += left_out.notices()


def records_from_ndjson(stream: ByteStream) -> Iterator[ItemRecord | Outcome]:
    """The objects of a request body, read line by line as they arrive.

    Keys: `item_id` (or `id`), `title`, `caption`, `tags`, `category`, and a picture as base64 in
    `image`, with `image_filename` if you like. Of other keys there is a note.
    """
    return _read(stream, MAX_LINE + settings.MMSEARCH_MAX_UPLOAD_BYTES * 4 // 3, _sent_record)


def _sent_record(row: Mapping[str, object], line: int) -> ItemRecord | Outcome:
    record = to_record(row, line=line, image=_inline_image)
    unknown = unknown_names(row, KEYS)
    note = " ".join(f"{name!r} is no field and was left out. {unknown[name]}" for name in unknown)
    return dataclasses.replace(record, note=note) if note else record


def _inline_image(row: Mapping[str, object]) -> tuple[ImageInput | None, str]:
    encoded, name = text(row, "image"), image_name(row)
    if encoded is None:
        if name is not None:
            raise InvalidField("image", "image_filename comes alone: add the base64 in image.")
        return None, ""
    return UploadedImage(data=decode_base64(encoded), filename=name or ""), encoded


def _read(stream: ByteStream, max_line: int, record: RowReader) -> Iterator[ItemRecord | Outcome]:
    for number, line in _numbered(stream, max_line):
        if len(line) > max_line:
            yield rejected(f"The line is longer than {max_line:,} bytes, the limit.", line=number)
            continue
        text_line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        if not text_line.strip():
            continue
        try:
            row = json.loads(text_line)
        except (ValueError, RecursionError) as exc:
            yield rejected(f"The line is not valid JSON: {exc}.", line=number)
            continue
        if not isinstance(row, dict):
            yield rejected('The line is not a JSON object: {"caption": "…"}.', line=number)
            continue
        yield record(row, number)


def _numbered(stream: ByteStream, max_line: int) -> Iterator[tuple[int, bytes]]:
    """Lines from 1; a longer one is cut after `max_line` + 1 bytes and its rest dropped."""
    number = 0
    while line := stream.readline(max_line + 1):
        number += 1
        yield number, line
        while len(line) > max_line and not line.endswith(b"\n"):
            line = stream.readline(max_line + 1)
