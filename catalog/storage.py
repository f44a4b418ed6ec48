"""Where pictures live: a folder or a bucket, and linked folders; never outside of them.

`STORAGES["default"]` is the one place of MMSEARCH_MEDIA_URL, for what is ours. `CatalogStorage` is
what items name their files in: that place, and read-only the linked folders of this machine.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any, BinaryIO, Final, Protocol, cast
from urllib.parse import urljoin

from django.conf import settings
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import File
from django.core.files.storage import FileSystemStorage, Storage, storages
from django.core.files.utils import validate_file_name
from django.db import DatabaseError, transaction
from django.utils.deconstruct import deconstructible
from django.utils.encoding import filepath_to_uri

from catalog.linking import is_linked, linked_path

logger = logging.getLogger(__name__)

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


class PicturesUnavailable(OSError):  # noqa: N818  it passes, or the operator mends it
    """The place of the pictures cannot be used just now; the message says why.

    Nothing is known of the picture itself: whoever asks may ask again later.
    """


def why_not_stored(error: BaseException | None) -> str | None:
    """What to tell a client whose picture found no room or no place; None of other errors."""
    if isinstance(error, PicturesUnavailable):
        return f"{error} Nothing was stored: send it again later."
    return DISK_FULL if is_disk_full(error) else None


class Pictured(Protocol):
    """What of an item its files are named after."""

    @property
    def item_id(self) -> str: ...

    @property
    def image_hash(self) -> str: ...


INCOMING: Final = ".incoming-"
"""How the name of a file begins while it is written; a kill may leave one."""


def delete_after_commit(names: Iterable[str | None]) -> None:
    """Delete stored files once the present transaction is committed; a failure is only logged."""
    if gone := [name for name in names if name]:
        transaction.on_commit(lambda: CatalogStorage().delete_all(gone), robust=True)


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


class StoredFile(File):  # type: ignore[type-arg]
    """A stored file, open for reading."""

    def __init__(self, stream: BinaryIO, name: str, *, size: int, modified: float) -> None:
        """`size` in bytes; `modified` in seconds of Unix time."""
        super().__init__(stream, name)
        self.stream = stream
        self.size = size
        self.modified = modified


class Place(Protocol):
    """What of Django's storage API a place of pictures has, and what it adds.

    Raises FileNotFoundError, PicturesUnavailable and SuspiciousFileOperation.
    """

    def open(self, name: str, mode: str = ...) -> StoredFile: ...

    def save(self, name: str, content: File[bytes]) -> str: ...

    def exists(self, name: str) -> bool: ...

    def listdir(self, path: str) -> tuple[list[str], list[str]]: ...

    def get_modified_time(self, name: str) -> datetime:
        """When the file was written or came here, whichever was later."""

    def delete_all(self, names: Sequence[str]) -> None:
        """Delete files; those that are not there are no error."""


def place() -> Place:
    """The place of all pictures that are ours."""
    return cast("Place", storages["default"])


class _Written(File):  # type: ignore[type-arg]
    """A file on this disk that the storage may move into its place."""

    def __init__(self, path: str) -> None:
        super().__init__(None, path)
        self._path = path

    def temporary_file_path(self) -> str:
        return self._path


class MediaFolder(FileSystemStorage):
    """The media folder, on this machine or shared by several."""

    def _open(self, name: str, mode: str = "rb") -> StoredFile:
        return _open_file(self.path(name), name, mode)

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

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        """Folders and files; links lead to what is someone else's and are neither."""
        try:
            with os.scandir(self.path(path)) as entries:
                found = [(entry.is_dir(follow_symlinks=False), entry) for entry in entries]
        except (FileNotFoundError, NotADirectoryError):
            return [], []
        folders = [entry.name for is_folder, entry in found if is_folder]
        return folders, [e.name for _, e in found if e.is_file(follow_symlinks=False)]

    def get_modified_time(self, name: str) -> datetime:
        """A copy that keeps the time of its original is as old as its arrival."""
        stat = Path(self.path(name)).lstat()
        return datetime.fromtimestamp(max(stat.st_mtime, stat.st_ctime), UTC)

    def delete_all(self, names: Sequence[str]) -> None:
        for name in names:
            self.delete(name)


@deconstructible(path="catalog.storage.CatalogStorage")
class CatalogStorage(Storage):
    """The files of items: in the place of pictures, or read-only `linked/<folder pk>/<path>`."""

    def path(self, name: str) -> str:
        """Absolute path of a file on this machine.

        Raises SuspiciousFileOperation outside the roots, NotImplementedError of a bucket.
        """
        return linked_path(name) or cast("Storage", place()).path(name)

    def url(self, name: str | None) -> str:
        """Where the pages serve it: access is decided there, wherever the file lies."""
        return urljoin(settings.MEDIA_URL, filepath_to_uri(name or "").lstrip("/"))

    def exists(self, name: str) -> bool:
        linked = linked_path(name)
        return Path(linked).exists() if linked else place().exists(name)

    def size(self, name: str) -> int:
        with self.open(name) as file:
            return int(file.size)

    def save(self, name: str | None, content: Any, max_length: int | None = None) -> str:  # noqa: ARG002  Django's
        """Store a file under a name that nobody else has, and return it.

        A random part makes it so: two hosts that store the same picture at once would both find
        the plain name free, and one would later delete the other's file.
        """
        validate_file_name(name or "", allow_relative_path=True)
        if is_linked(name or ""):
            raise SuspiciousFileOperation(f"{name!r} is in a linked folder, which is read only.")
        plain = PurePath(name or "")
        root = str(plain.with_suffix(""))
        return place().save(self.get_alternative_name(root, plain.suffix), content)

    def delete(self, name: str) -> None:
        self.delete_all([name])

    def delete_all(self, names: Iterable[str]) -> None:
        """Delete stored files; linked pictures belong to their owner and stay.

        What cannot be deleted just now is left to `sweep_pictures`.
        """
        ours = [name for name in names if not is_linked(name)]
        try:
            place().delete_all(ours)
        except PicturesUnavailable as exc:
            logger.warning("%d files are left to the sweep: %s", len(ours), exc)

    def open(self, name: str, mode: str = "rb") -> StoredFile:
        """A file for reading. Raises what a Place raises."""
        linked = linked_path(name)
        return _open_file(linked, name, mode) if linked else place().open(name, mode)


def _open_file(path: str, name: str, mode: str) -> StoredFile:
    stream = cast("BinaryIO", Path(path).open(mode))  # noqa: SIM115  the caller closes it
    stat = os.fstat(stream.fileno())
    return StoredFile(stream, name, size=stat.st_size, modified=stat.st_mtime)
