"""Linked folders: pictures that stay where they are, on this machine, and are only read.

A linked folder is a path. Every host that serves or embeds its pictures needs it under that path.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Final

from django.apps import apps
from django.core.exceptions import SuspiciousFileOperation

LINK_PREFIX: Final = "linked"
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


def is_linked(name: str) -> bool:
    """Whether a storage name is that of a linked picture."""
    return name.replace("\\", "/").startswith(f"{LINK_PREFIX}/")


def linked_path(name: str) -> str:
    """Absolute path of a linked picture, empty of other names.

    Raises SuspiciousFileOperation outside the linked folders.
    """
    match = _LINKED.fullmatch(str(name).replace("\\", "/"))
    if match is None:
        return ""
    folder = _linked_folder(int(match[1]))
    if folder is None:
        raise SuspiciousFileOperation(f"{name!r} names a linked folder that is not allowed.")
    root = Path(folder).resolve()
    target = (root / match[2]).resolve()
    if not target.is_relative_to(root):
        raise SuspiciousFileOperation(f"{name!r} leads out of the linked folder.")
    return str(target)
