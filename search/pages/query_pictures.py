"""Pictures that were searched with, kept for a while so that paging and filters are plain links.

Every host finds them: they lie in the place of all pictures.
"""

from __future__ import annotations

import io
import re
import secrets
import time
from typing import Final

from django.core.files.base import ContentFile
from PIL import Image

from catalog.storage import PicturesUnavailable, place

FOLDER: Final = "queries"
"""In the place of pictures: the page shows the picture it searched with."""
KEPT: Final = 24 * 3600
"""Seconds from the upload; the next upload clears what is older."""
MAX_KEPT: Final = 500
"""Pictures kept at most, so that nobody fills the disk by searching."""
_TOKEN: Final = re.compile(r"([0-9a-f]{8})-[A-Za-z0-9_-]{22}")
"""When it was kept, in seconds of Unix time, and what nobody guesses."""


class PictureGone(LookupError):  # noqa: N818  a fact about the picture
    """The picture of a search is no longer kept, or never was; the message names the mend."""


def keep(image: Image.Image) -> str:
    """Keep an upright RGB picture, losslessly; returns the token that finds it again.

    Raises PicturesUnavailable.
    """
    _clear_old()
    token = f"{int(time.time()):08x}-{secrets.token_urlsafe(16)}"
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=1)
    place().save(name(token), ContentFile(stream.getvalue()))
    return token


def find(token: str) -> Image.Image:
    """The picture kept under a token. Raises PictureGone and PicturesUnavailable."""
    gone = PictureGone("The picture of this search is no longer kept. Please choose it again.")
    if not _TOKEN.fullmatch(token):
        raise gone
    try:
        with place().open(name(token)) as file, Image.open(file) as image:
            return image.convert("RGB")
    except PicturesUnavailable:
        raise
    except OSError as exc:
        raise gone from exc


def name(token: str) -> str:
    """Name in the place of pictures."""
    return f"{FOLDER}/{token}.png"


def is_name(name: str) -> bool:
    """Whether `name` in the place of pictures can be a kept picture's."""
    return re.fullmatch(rf"{FOLDER}/{_TOKEN.pattern}\.png", name) is not None


def _clear_old() -> None:
    oldest = time.time() - KEPT
    _, files = place().listdir(FOLDER)
    kept = sorted((_kept_at(file), file) for file in files if file.endswith(".png"))
    old = [
        f"{FOLDER}/{file}"
        for place_from_newest, (since, file) in enumerate(reversed(kept), start=1)
        if since < oldest or place_from_newest >= MAX_KEPT
    ]
    if old:
        place().delete_all(old)


def _kept_at(file: str) -> int:
    match = _TOKEN.fullmatch(file.removesuffix(".png"))
    return int(match[1], 16) if match else 0
