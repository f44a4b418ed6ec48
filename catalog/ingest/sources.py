"""Where records come from: a CSV or JSON file, or a folder of pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from catalog.ingest import folders, json_array, json_lines
from catalog.ingest.folders import ImageFolder
from catalog.ingest.json_lines import records_from_ndjson
from catalog.ingest.records import IngestError, ItemRecord, Outcome
from catalog.ingest.tables import HeaderError, Table
from catalog.ingest.text_files import estimate, open_bytes
from catalog.ingest.translation import left_out

__all__ = ["Source", "SourceError", "open_folder", "open_source", "records_from_ndjson"]

_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
_SNIFF_BYTES: Final = 65536


class SourceError(IngestError):
    """The source as a whole cannot be read; the message says why."""


@dataclasses.dataclass(frozen=True)
class Source:
    """Records to come. Iterating reads them lazily, each time from the beginning."""

    description: str
    estimated: int
    """About how many records, for a progress bar."""
    notices: list[str]
    """What people should know about the source; complete once it was read."""
    _read: Callable[[], Iterator[ItemRecord | Outcome]]

    def __iter__(self) -> Iterator[ItemRecord | Outcome]:
        return self._read()


def open_source(path: Path, *, images: Path | None = None, link: bool = False) -> Source:
    """Look at a source and get ready to read it. Raises SourceError.

    Pictures are found below `images`, or below the source's own folder. With `link` they stay
    where they are.
    """
    try:
        if path.is_dir():
            if images is not None:
                raise SourceError(f"{path} is a folder of pictures itself: leave out --images.")
            return _folder_source(ImageFolder(path.resolve(strict=True), link))
        root = path.parent if images is None else images
        if images is not None and not images.is_dir():
            raise SourceError(f"--images {images}: there is no such folder.")
        return _file_source(path, ImageFolder(root.resolve(strict=True), link))
    except (OSError, RuntimeError) as exc:
        raise SourceError(f"{path} cannot be read: {exc}.") from exc


def open_folder(path: Path, *, link: bool = False) -> ImageFolder:
    """A folder to be watched. Raises SourceError."""
    try:
        if path.is_dir():
            return ImageFolder(path.resolve(strict=True), link)
    except (OSError, RuntimeError) as exc:
        raise SourceError(f"{path} cannot be read: {exc}.") from exc
    raise SourceError(f"{path} is no folder: only a folder of pictures can be watched.")


def _folder_source(folder: ImageFolder) -> Source:
    count = folders.count_pictures(folder.root)
    if not count:
        raise SourceError(f"{folder.root} holds no pictures.")
    notices: list[str] = []
    return Source(
        f"folder {folder.root}", count, notices, lambda: folders.read_folder(folder, notices)
    )


def _file_source(path: Path, folder: ImageFolder) -> Source:
    if not path.is_file():
        raise SourceError(f"{path} is neither a file nor a folder.")
    with open_bytes(path) as stream:
        head = stream.read(_SNIFF_BYTES)
    if head.startswith(_UTF16_MARKS):
        raise SourceError(f"{path} is UTF-16. Save it as UTF-8.")
    if b"\x00" in head.partition(b"\n")[0]:
        raise SourceError(f"{path} is no text: give a CSV or JSON file, or a folder.")
    notices: list[str] = []
    content = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if content.startswith(b"["):
        return Source(
            f"JSON file {path}",
            max(estimate(path, b"{"), 1),
            notices,
            lambda: json_array.read_array(path, folder, notices),
        )
    if content.startswith(b"{") or {".jsonl", ".ndjson"} & set(map(str.lower, path.suffixes[-2:])):
        return Source(
            f"JSON Lines file {path}",
            max(estimate(path, b"\n"), 1),
            notices,
            lambda: json_lines.read_file(path, folder, notices),
        )
    try:
        table = Table(path)
    except HeaderError as exc:
        raise SourceError(str(exc)) from exc
    notices += left_out("Columns", table.unknown)
    return Source(f"CSV file {path}", table.estimate_rows(), notices, lambda: table.read(folder))
