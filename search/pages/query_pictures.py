"""Pictures that were searched with, kept for a while so that paging and filters are plain links."""

from __future__ import annotations

import re
import secrets
import time
from pathlib import Path
from typing import Final

from django.conf import settings
from PIL import Image

FOLDER: Final = "queries"
"""Below the media folder: the page shows the picture it searched with."""
KEPT: Final = 24 * 3600
"""Seconds from the upload; the next upload clears what is older."""
MAX_KEPT: Final = 500
"""Pictures kept at most, so that nobody fills the disk by searching."""
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{22}")


class PictureGone(LookupError):  # noqa: N818  a fact about the picture
    """The picture of a search is no longer kept, or never was; the message names the mend."""


def keep(image: Image.Image) -> str:
    """Keep an upright RGB picture, losslessly; returns the token that finds it again."""
    folder = Path(settings.MEDIA_ROOT) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    _clear_old(folder)
    token = secrets.token_urlsafe(16)
    image.save(folder / f"{token}.png", compress_level=1)
    return token


def find(token: str) -> Image.Image:
    """The picture kept under a token. Raises PictureGone."""
    gone = PictureGone("The picture of this search is no longer kept. Please choose it again.")
    if not _TOKEN.fullmatch(token):
        raise gone
    try:
        with Image.open(Path(settings.MEDIA_ROOT) / name(token)) as image:
            return image.convert("RGB")
    except OSError as exc:
        raise gone from exc


def name(token: str) -> str:
    """Name below the media folder."""
    return f"{FOLDER}/{token}.png"


def is_name(name: str) -> bool:
    """Whether `name` below the media folder can be a kept picture's."""
    return re.fullmatch(rf"{FOLDER}/{_TOKEN.pattern}\.png", name) is not None


def _clear_old(folder: Path) -> None:
    oldest = time.time() - KEPT
    files = sorted(((_modified(file), file) for file in folder.glob("*.png")), reverse=True)
    for place, (modified, file) in enumerate(files, start=1):
        if modified < oldest or place >= MAX_KEPT:
            file.unlink(missing_ok=True)


def _modified(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:  # another process cleared it
        return 0.0
