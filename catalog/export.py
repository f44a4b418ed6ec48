"""Items out, into the files that `ingest_dataset` reads."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import gzip
import json
import os
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Final, TextIO

from django.core.exceptions import SuspiciousFileOperation
from django.db.models import QuerySet

from catalog.ingest.tables import COLUMNS
from catalog.linking import is_linked
from catalog.models import Item
from catalog.storage import CatalogStorage, PicturesUnavailable, image_upload_path

PAGE: Final = 500
"""Items read at a time."""
_MAX_NAME_BYTES: Final = 255

_Row = dict[str, str | list[str]]


class ExportError(Exception):
    """The items cannot be written as was asked; the message names the mend."""


@dataclasses.dataclass(frozen=True)
class Written:
    """Some items of an export."""

    items: int
    without_picture: tuple[str, ...]
    """Ids of those whose picture is gone from the disk."""


def export_items(
    selection: Iterable[QuerySet[Item]], *, target: Path, images: Path | None
) -> Generator[Written]:
    """Write items to a `.csv` or `.jsonl` file (or the same with `.gz`), at flat memory.

    Pictures are copied below `images`, and named relative to it; without it they are named where
    they are, relative to the media folder. The file is there, whole, once the iterator has ended.
    Raises ExportError and OSError.
    """
    with _replacing(target) as stream:
        write = _row_writer(target, stream)
        for items in selection:
            for page in _pages(items):
                missing = []
                for item in page:
                    name = _picture(item, images) if item.image else ""
                    if name is None:
                        missing.append(item.item_id)
                    write(_row(item, name or ""))
                yield Written(len(page), tuple(missing))


def _pages(items: QuerySet[Item]) -> Iterator[list[Item]]:
    last = 0
    while page := list(items.filter(pk__gt=last).order_by("pk").prefetch_related("tags")[:PAGE]):
        yield page
        last = page[-1].pk


def _row(item: Item, image: str) -> _Row:
    return {
        "id": item.item_id,
        "image_filename": image,
        "caption": item.caption,
        "title": item.title,
        "tags": [tag.name for tag in item.tags.all()],
        "category": item.category,
    }


def _picture(item: Item, images: Path | None) -> str | None:
    """The name of an item's picture for its row, copied if so wished; None where it is gone."""
    stored = item.image.name or ""
    try:
        source = CatalogStorage().open(stored)
    except PicturesUnavailable:
        raise
    except (OSError, SuspiciousFileOperation):
        return None
    with source:
        if images is None:
            if is_linked(stored):
                raise ExportError(
                    f"The picture of {item.item_id!r} is in a linked folder: have the pictures"
                    " copied with --images DIR."
                )
            return stored
        name = _copy_name(item)
        target = images / name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{os.getpid()}")
            with partial.open("wb") as copy:
                shutil.copyfileobj(source, copy)
            partial.replace(target)
    return name


def _copy_name(item: Item) -> str:
    """Where an item's picture is copied to: under its first name, in a folder of its own."""
    folder = image_upload_path(item, "").removeprefix("images/")
    name = item.original_filename
    fits = len(name.encode()) <= _MAX_NAME_BYTES and name == name.rstrip()
    if not fits or name in {"", ".", ".."} or "/" in name or "\\" in name:
        name = item.image_name
    return f"{folder}/{name}"


def _row_writer(target: Path, stream: TextIO) -> Callable[[_Row], object]:
    if _kind(target) == ".jsonl":
        return lambda row: stream.write(json.dumps(row, ensure_ascii=False) + "\n")
    table = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    table.writeheader()
    return lambda row: table.writerow({**row, "tags": _joined(row)})


def _joined(row: _Row) -> str:
    for tag in row["tags"]:
        if "," in tag:
            raise ExportError(
                f"The tag {tag!r} of {row['id']!r} holds a comma, which parts tags in CSV: export"
                " to a .jsonl file."
            )
    return ",".join(row["tags"])


def _kind(target: Path) -> str:
    return Path(target.name.removesuffix(".gz")).suffix.lower()


@contextlib.contextmanager
def _replacing(target: Path) -> Iterator[TextIO]:
    """A file that takes the target's place once it is complete."""
    if _kind(target) not in {".csv", ".jsonl"}:
        raise ExportError(f"{target} has to end in .csv or .jsonl, or in .csv.gz or .jsonl.gz.")
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    opened = gzip.open if target.suffix == ".gz" else open
    try:
        with opened(partial, "wt", encoding="utf-8", newline="") as stream:
            yield stream
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
