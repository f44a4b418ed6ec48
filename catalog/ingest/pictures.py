"""A record's picture made ready: checked and its files stored, before any row is written.

Runs in threads and touches no database.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Final, NamedTuple

from django.core.files.base import ContentFile

from catalog.ingest.images import CheckedImage, ImageRefused, check_image, read_bytes
from catalog.ingest.records import ImageInput, LocalImage
from catalog.linking import is_linked
from catalog.storage import CatalogStorage, image_upload_path, preview_upload_path

MAX_LINKED_PATH: Final = 1000
"""Characters of a linked picture's path below its folder."""
_MAX_FILENAME: Final = 255


@dataclasses.dataclass(frozen=True, kw_only=True)
class Known:
    """What the database had on an item's picture a moment ago."""

    image_hash: str
    image: str
    preview: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture whose files are stored, or are known to be the ones that the item has."""

    image_hash: str
    original_filename: str
    linked_root: Path | None = None
    image: str = ""
    """Storage name; below `linked_root` where it is linked."""
    preview: str = ""
    width: int = 0
    height: int = 0
    note: str = ""
    """What was odd about it and yet taken, for people."""
    kept: bool = False
    """The item had it already: nothing was stored, only hash and filename are set."""

    def discard(self) -> None:
        """Delete the files that were stored for it."""
        ours = (self.preview, "" if self.linked_root else self.image)
        CatalogStorage().delete_all(name for name in ours if name)


class _Named(NamedTuple):
    """What files are named after, without the cost of a model's instance."""

    item_id: str
    image_hash: str


def prepare_picture(
    item_id: str, source: ImageInput, known: Known | None, *, store: bool
) -> Picture:
    """Check a picture and store its files. Raises ImageRefused and PicturesUnavailable.

    A picture that the item already has, by hash, is neither decoded nor stored again.
    """
    local = source if isinstance(source, LocalImage) else None
    filename = _file_name(source)
    try:
        data = read_bytes(local.path if local else source.data)  # type: ignore[union-attr]
    except OSError as exc:
        raise ImageRefused(f"{filename!r} cannot be read: {exc.strerror or exc}.") from exc
    if known and known.image_hash == hashlib.sha256(data).hexdigest() and _serves(known, local):
        return Picture(image_hash=known.image_hash, original_filename=filename, kept=True)
    checked = check_image(data, filename=filename)
    picture = Picture(
        image_hash=checked.sha256,
        original_filename=filename,
        linked_root=local.linked_root if local else None,
        image=_linked_path(local) if local else "",
        width=checked.width,
        height=checked.height,
        note=checked.note,
    )
    return _store(item_id, picture, checked, data) if store else picture


def _store(item_id: str, picture: Picture, checked: CheckedImage, data: bytes) -> Picture:
    storage, item = CatalogStorage(), _Named(item_id, picture.image_hash)
    if picture.linked_root is None:
        name = storage.save(image_upload_path(item, f"image{checked.suffix}"), ContentFile(data))
        picture = dataclasses.replace(picture, image=name)
    if checked.preview is not None:
        try:
            name = storage.save(
                preview_upload_path(item, "preview.jpg"), ContentFile(checked.preview)
            )
        except BaseException:
            picture.discard()
            raise
        picture = dataclasses.replace(picture, preview=name)
    return picture


def _serves(known: Known, local: LocalImage | None) -> bool:
    """Whether the files that the item has are where this ingestion wants them."""
    path = _linked_path(local) if local else ""
    if is_linked(known.image):
        in_place = bool(path) and known.image.split("/", 2)[2] == path
    else:
        in_place = not path and CatalogStorage().exists(known.image)
    return in_place and (not known.preview or CatalogStorage().exists(known.preview))


def _linked_path(local: LocalImage) -> str:
    if local.linked_root is None:
        return ""
    relative = local.path.relative_to(local.linked_root).as_posix()
    if len(relative) > MAX_LINKED_PATH:
        raise ImageRefused(f"The path {relative!r} is too long to link. Copy it, without --link.")
    try:
        relative.encode()
    except UnicodeEncodeError as exc:
        raise ImageRefused(
            f"The file name {relative!r} is not UTF-8. Rename it, or copy it, without --link."
        ) from exc
    return relative


def _file_name(source: ImageInput) -> str:
    """The file's own name, fit for a column: no folders, no bytes that are no text."""
    given = source.path.name if isinstance(source, LocalImage) else source.filename
    name = given.replace("\\", "/").rpartition("/")[2].replace("\x00", "")
    return name.encode(errors="replace").decode()[-_MAX_FILENAME:]
