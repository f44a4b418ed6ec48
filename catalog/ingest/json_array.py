"""A file that is one JSON array: its objects one after the other, at flat memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TextIO

from catalog.ingest.folders import ImageFolder
from catalog.ingest.records import ItemRecord, Outcome, rejected
from catalog.ingest.text_files import open_text
from catalog.ingest.translation import LeftOut, named_image, to_record

MAX_ENTRY: Final = 2**20
"""Characters of an entry."""
_PIECE: Final = 2**16
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_DECODER: Final = json.JSONDecoder()


def read_array(
    path: Path, folder: ImageFolder, notices: list[str]
) -> Iterator[ItemRecord | Outcome]:
    """The array's objects; `line` is where one begins. What is no JSON ends the reading.

    Which keys mean nothing is among the notices at its end.
    """
    left_out = LeftOut()
    with open_text(path) as stream:
        text = _Text(stream)
        try:
            text.take("[")
            while not text.take("]"):
                line, value = text.take_value()
                if isinstance(value, dict):
                    left_out.add(value)
                    yield to_record(value, line=line, image=lambda row: named_image(row, folder))
                else:
                    reason = 'The entry is not a JSON object: {"caption": "…"}.'
                    yield rejected(reason, line=line)
                text.take(",")
            if text.next_character():
                raise ValueError("the array has ended")  # noqa: TRY301  reported below
        except (ValueError, RecursionError) as exc:
            what = exc.msg if isinstance(exc, json.JSONDecodeError) else exc
            yield rejected(
                f"From here on the file is not a valid JSON array: {what}. Nothing behind this"
                " line was read.",
                line=text.line,
            )
    notices += left_out.notices()


class _Text:
    """The piece of a stream that is being looked at."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._text = ""
        self._at = 0
        self.line = 1

    def next_character(self) -> str:
        """What comes next after spaces; empty at the end."""
        while True:
            space = _SPACE.match(self._text, self._at)
            self._go_to(space.end() if space else self._at)
            if self._at < len(self._text) or not self._read():
                return self._text[self._at : self._at + 1]

    def take(self, mark: str) -> bool:
        """Pass over `mark` if it comes next."""
        if self.next_character() != mark:
            return False
        self._at += 1
        return True

    def take_value(self) -> tuple[int, object]:
        """The next value, which a comma or the bracket has to follow, and its line.

        Raises ValueError or RecursionError.
        """
        while True:
            self.next_character()
            try:
                value, end = _decode(self._text, self._at)
            except ValueError as exc:
                if len(self._text) - self._at > MAX_ENTRY:
                    raise ValueError(f"{exc}, within {MAX_ENTRY:,} characters") from exc
                if not self._read():  # its rest is not on the way
                    raise
            else:
                line = self.line
                self._go_to(end)
                return line, value

    def _go_to(self, position: int) -> None:
        self.line += self._text.count("\n", self._at, position)
        self._at = position

    def _read(self) -> bool:
        """Read as much again as is there: an entry is tried a few times at most."""
        rest = self._text[self._at :]
        piece = self._stream.read(max(_PIECE, len(rest)))
        self._text, self._at = rest + piece, 0
        return bool(piece)


def _decode(text: str, start: int) -> tuple[object, int]:
    """The value at `start`, and where it ends before a comma or bracket. Raises ValueError."""
    value, end = _DECODER.raw_decode(text, start)
    space = _SPACE.match(text, end)
    following = space.end() if space else end
    if text[following : following + 1] not in (",", "]"):
        raise ValueError("a comma or ] has to stand behind each entry")
    return value, end
