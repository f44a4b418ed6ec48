"""CSV: one row an item."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TextIO

from catalog.ingest.folders import ImageFolder
from catalog.ingest.records import ItemRecord, Outcome, rejected
from catalog.ingest.text_files import estimate, open_text
from catalog.ingest.translation import IMAGE_KEYS, named_image, to_record

COLUMNS: Final = ("id", "image_filename", "caption", "title", "tags", "category")
MAX_LINE: Final = 2**20
"""Characters of a line."""
MAX_FIELD: Final = MAX_LINE // 2
"""Characters of a field: fewer, so that the one field of an endless line is found out there."""
_DELIMITERS: Final = ",;\t|"

_BY_HEADER: Final = {
    re.sub(r"[\s_-]", "", name): name for name in (*COLUMNS, *IMAGE_KEYS, "item_id")
}


class HeaderError(ValueError):
    """The first line names no columns that make an item; the message says which are missing."""


class Table:
    """A CSV file whose header was understood. Raises HeaderError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with open_text(path) as stream:
            first = stream.readline(MAX_LINE)
        if not first.strip():
            raise HeaderError(f"{path} is empty: its first line has to name the columns.")
        parsed = {d: next(csv.reader([first], delimiter=d), []) for d in _DELIMITERS}
        known = {d: sum(_column(cell) is not None for cell in parsed[d]) for d in parsed}
        self.delimiter = max(parsed, key=lambda d: known[d])
        header = parsed[self.delimiter]
        self.columns = [_column(cell) for cell in header]
        names = [name for name in self.columns if name]
        if not {"caption", *IMAGE_KEYS} & set(names):
            raise HeaderError(
                f"{path} has neither a column caption nor image_filename; its first line names"
                f" {', '.join(cell.strip() for cell in header)[:300]!r}. Known columns are"
                f" {', '.join(COLUMNS)}."
            )
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise HeaderError(f"{path} names the column {twice[0]} twice. Rename one of them.")
        self.unknown = [
            cell.strip() for cell, name in zip(header, self.columns, strict=True) if not name
        ]

    def estimate_rows(self) -> int:
        """About how many rows there are."""
        return max(estimate(self.path, b"\n") - 1, 1)

    def read(self, folder: ImageFolder) -> Iterator[ItemRecord | Outcome]:
        """The rows, one at a time; `line` is where a row begins."""
        csv.field_size_limit(MAX_FIELD)
        with open_text(self.path) as stream:
            reader = csv.reader(_lines(stream), delimiter=self.delimiter)
            next(reader)
            while True:
                begin = reader.line_num + 1
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except csv.Error as exc:
                    yield rejected(f"The row cannot be read: {exc}.", line=begin)
                    continue
                if any(cell.strip() for cell in cells):
                    yield self._record(cells, begin, reader.line_num, folder)

    def _record(
        self, cells: list[str], begin: int, end: int, folder: ImageFolder
    ) -> ItemRecord | Outcome:
        expected = len(self.columns)
        surplus = any(cell.strip() for cell in cells[expected:])
        if len(cells) < expected or surplus:
            where = f" Lines {begin} to {end} were read as one: is a quote left open?"
            return rejected(
                f"The row has {len(cells)} fields, the header {expected}."
                + (where if end > begin else " Put quotes around a text that holds a delimiter."),
                line=begin,
            )
        row = {name: cell for name, cell in zip(self.columns, cells, strict=False) if name}

        return to_record(row, line=begin, image=lambda row: named_image(row, folder))


def _column(cell: str) -> str | None:
    return _BY_HEADER.get(re.sub(r"[\s_-]", "", cell).lower())


def _lines(stream: TextIO) -> Iterator[str]:
    """Lines of bounded length: of a longer one the rest is dropped, and csv refuses its field."""
    while line := stream.readline(MAX_LINE + 1):
        yield line
        while len(line) > MAX_LINE and not line.endswith(("\n", "\r")):
            line = stream.readline(MAX_LINE + 1)
