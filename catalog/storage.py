"""Where pictures live: the media folder and linked folders, and never outside of them."""

from __future__ import annotations

import errno
import os
import re
import tempfile
import time
from pathlib import Path, PurePath
from typing import Final, Protocol

from django.apps import apps
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import File
from django.core.files.storage import FileSystemStorage
from django.db import DatabaseError, transaction
from django.utils.deconstruct import deconstructible

DISK_FULL: Final = "The server's disk is full: nothing was stored. Send it again later."
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def is_disk_full(error: BaseException | None) -> bool:
    """Whether a file or the database could not be written for want of space."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    return isinstance(error, DatabaseError) and any(
        words in str(error)
        for words in ("disk is full", "No space left")  # SQLite, PostgreSQL
    )


class Pictured(Protocol):
    """What of an item its files are named after."""

    @property
    def item_id(self) -> str: ...

    @property
    def image_hash(self) -> str: ...


LINK_PREFIX = "linked"
INCOMING: Final = ".incoming-"
"""How the name of a file begins while it is written; a kill may leave one."""
LINKS_TRUSTED_FOR: Final = 5.0
"""Seconds until a linked folder that another process withdrew is served no longer."""
_LINKED = re.compile(rf"{LINK_PREFIX}/(\d+)/(.+)", re.DOTALL)


def linked_name(folder_id: int, relative: str) -> str:
    """Storage name of a picture that stays in the linked folder with this primary key."""
    return f"{LINK_PREFIX}/{folder_id}/{relative}"


_folders: dict[int, tuple[str, float]] = {}


def forget_linked_folders() -> None:
    """Read the linked folders from the database again when next asked."""
    _folders.clear()


def _linked_folder(pk: int) -> str | None:
    """A linked folder's path, at most LINKS_TRUSTED_FOR seconds old: each picture asks for it."""
    path, read_at = _folders.get(pk, ("", 0.0))
    if path and time.monotonic() - read_at < LINKS_TRUSTED_FOR:
        return path
    rows = apps.get_model("catalog", "LinkedFolder").objects.filter(pk=pk)
    found: str | None = rows.values_list("path", flat=True).first()
    if found is None:
        _folders.pop(pk, None)
        return None
    _folders[pk] = (found, time.monotonic())
    return found


def delete_after_commit(name: str) -> None:
    """Delete a stored file once the present transaction is committed; a failure is only logged."""

    def delete_stored_file() -> None:
        CatalogStorage().delete(name)

    transaction.on_commit(delete_stored_file, robust=True)


def _shard(item: Pictured) -> str:
    """Two hex digits of the content, so that no folder holds a hundred thousand files."""
    return item.image_hash[:2] or "00"


def _file_name(item: Pictured, suffix: str) -> str:
    # Any id has a name: of punctuation alone too, and within 255 bytes where letters take four.
    stem = re.sub(r"[^-\w.]", "", item.item_id.replace(" ", "_"))[:48].strip(".") or "item"
    return f"{stem}_{item.image_hash[:12]}{suffix}"


def image_upload_path(item: Pictured, filename: str) -> str:
    """Storage name of an uploaded picture; only its suffix is taken from the caller."""
    return f"images/{_shard(item)}/{_file_name(item, PurePath(filename).suffix.lower()[:6])}"


def preview_upload_path(item: Pictured, filename: str) -> str:
    """Storage name of a picture's preview."""
    return f"previews/{_shard(item)}/{_file_name(item, PurePath(filename).suffix)}"


class _Written(File):  # type: ignore[type-arg]
    """A file on this disk that the storage may move into its place."""

    def __init__(self, path: str) -> None:
        super().__init__(None, path)
        self._path = path

    def temporary_file_path(self) -> str:
        return self._path


@deconstructible(path="catalog.storage.CatalogStorage")
class CatalogStorage(FileSystemStorage):
    """The media folder, plus read-only names `linked/<folder pk>/<relative path>`."""

    def path(self, name: str) -> str:
        """Absolute path of a stored name. Raises SuspiciousFileOperation outside the roots."""
        match = _LINKED.fullmatch(str(name).replace("\\", "/"))
        if match is None:
            return super().path(name)
        folder = _linked_folder(int(match[1]))
        if folder is None:
            raise SuspiciousFileOperation(f"{name!r} names a linked folder that is not allowed.")
        root = Path(folder).resolve()
        target = (root / match[2]).resolve()
        if not target.is_relative_to(root):
            raise SuspiciousFileOperation(f"{name!r} leads out of the linked folder.")
        return str(target)

    def _save(self, name: str, content: File[bytes]) -> str:
        """Write beside, then move: a full disk leaves no part of a file behind."""
        Path(self.location).mkdir(parents=True, exist_ok=True)
        descriptor, path = tempfile.mkstemp(dir=self.location, prefix=INCOMING)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                for chunk in content.chunks():
                    stream.write(chunk)
            saved: str = super()._save(name, _Written(path))  # type: ignore[misc]  # not in stubs
        finally:
            Path(path).unlink(missing_ok=True)
        return saved

    def delete(self, name: str) -> None:
        """Delete a stored file; linked pictures belong to their owner and stay."""
        if not name.startswith(f"{LINK_PREFIX}/"):
            super().delete(name)
