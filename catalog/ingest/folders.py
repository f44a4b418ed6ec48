"""Folders of pictures: finding a named picture inside one, and reading one as a data set."""

from __future__ import annotations

import dataclasses
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import Final

from django.conf import settings

from catalog.ingest.formats import is_picture_name
from catalog.ingest.records import (
    InvalidField,
    ItemRecord,
    LocalImage,
    Outcome,
    path_id,
    rejected,
)

CAPTION_SUFFIX: Final = ".txt"


@dataclasses.dataclass(frozen=True)
class ImageFolder:
    """The folder that a data set's pictures are in, and never outside of it."""

    root: Path
    """Resolved."""
    link: bool

    def find(self, name: str) -> LocalImage:
        """The picture of this relative name. Raises InvalidField."""
        name = name.strip()
        try:
            name.encode()
        except UnicodeEncodeError as exc:
            raise InvalidField(
                "image", f"The file name {name!r} is not UTF-8: save the data set as UTF-8."
            ) from exc
        windows = PureWindowsPath(name)
        if windows.drive or windows.root:
            raise InvalidField(
                "image", f"{name!r} is an absolute path. Name the file relative to the folder."
            )
        for spelling in _spellings(name):
            target = self._resolve(spelling, name)
            if target is not None:
                return self.local(target)
        raise InvalidField("image", f"There is no file {name!r} in {self.root}.")

    def local(self, path: Path) -> LocalImage:
        """A picture by its resolved path inside the folder."""
        return LocalImage(path=path, linked_root=self.root if self.link else None)

    def _resolve(self, spelling: str, name: str) -> Path | None:
        try:
            target = (self.root / spelling).resolve()
            inside = target.is_relative_to(self.root)
            if inside and not target.is_file():
                return None
        except (OSError, RuntimeError, ValueError) as exc:  # a circle of links, a null byte
            raise InvalidField("image", f"The file name {name!r} cannot be used: {exc}.") from exc
        if not inside:
            raise InvalidField(
                "image",
                f"{name!r} leads out of {self.root}. Copy the picture into that folder, or choose"
                " another one with --images.",
            )
        return target


def count_pictures(root: Path) -> int:
    """How many files below `root` are meant as pictures."""
    return sum(is_picture_name(path.name) for path in walk(root, []))


def read_folder(folder: ImageFolder, notices: list[str]) -> Iterator[ItemRecord | Outcome]:
    """Every picture below the folder, in order of path, captioned by its same-named text file."""
    other = 0
    unreadable: list[OSError] = []
    for path in walk(folder.root, unreadable):
        if not is_picture_name(path.name):
            other += path.suffix.lower() != CAPTION_SUFFIX
            continue
        yield picture_record(folder, path)
    for error in unreadable:
        yield rejected(f"A folder cannot be read: {error}.")
    if other:
        notices.append(f"{other:,} files that are no pictures were passed over.")


def picture_record(folder: ImageFolder, path: Path) -> ItemRecord | Outcome:
    """The record of one picture in the folder; it stands in no line."""
    relative = path.relative_to(folder.root).as_posix()
    item_id = path_id(relative)
    try:
        return ItemRecord(
            item_id=item_id,
            caption=_caption(path.with_suffix(CAPTION_SUFFIX)),
            image=folder.find(relative),
        )
    except InvalidField as exc:
        return rejected(exc.reason, item_id=item_id, field=exc.field)


def _caption(path: Path) -> str | None:
    if not path.is_file():
        return None
    limit = settings.MMSEARCH_MAX_CAPTION_LENGTH
    try:
        with path.open(encoding="utf-8-sig") as stream:
            caption = stream.read(limit + 1)
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidField(
            "caption", f"{path.name!r} cannot be read ({exc}): save it as UTF-8."
        ) from exc
    return caption if caption.strip() else None


def walk(root: Path, unreadable: list[OSError]) -> Iterator[Path]:
    """Files below `root` in a stable order, without hidden ones; one folder's names in memory.

    Folders that cannot be read are added to `unreadable`.
    """
    for current, folders, files in os.walk(root, onerror=unreadable.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(current, name) for name in sorted(files) if not name.startswith("."))


def _spellings(name: str) -> list[str]:
    """A name as written, with Windows' slashes turned, and with accents composed or apart."""
    slashed = (name, name.replace("\\", "/"))
    forms = (unicodedata.normalize(form, n) for n in slashed for form in ("NFC", "NFD"))
    return list(dict.fromkeys((*slashed, *forms)))
