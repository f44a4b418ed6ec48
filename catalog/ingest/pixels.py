"""From whatever a file holds to an upright RGB picture of modest size."""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import Image

PREVIEW_SIDE: Final = 448
"""Pixels of a preview's short side: twice what CLIP ViT-B/32 reads, 1.3 times ViT-L/14@336."""
MAX_ASPECT: Final = 8
"""A preview is the centre of a longer picture, which is all that CLIP's centre crop sees of it."""

_ORIENTATION_TAG: Final = 0x0112
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 (upright) where there is none or it cannot be read."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # noqa: BLE001  broken metadata says nothing about the picture
        return 1
    return value if value in _TURNS else 1


def preview_size(width: int, height: int) -> tuple[int, int]:
    """Size of the preview of a picture: never larger, short side at most PREVIEW_SIDE."""
    width, height = min(width, MAX_ASPECT * height), min(height, MAX_ASPECT * width)
    scale = min(1.0, PREVIEW_SIDE / min(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def to_preview(image: Image.Image, turned: int) -> Image.Image:
    """A loaded image of any mode as an upright RGB preview on white.

    `turned` is its EXIF orientation. Raises ValueError for modes that have no way to RGB.
    """
    if image.mode in {"I", "F"}:
        image = _shrink(image)  # first: at eight bytes a pixel it would take gigabytes
    image = _to_8_bit(image)
    if image.has_transparency_data:
        image = image if image.mode in {"RGBA", "LA"} else image.convert("RGBA")
    elif image.mode not in {"RGB", "L"}:
        image = image.convert("RGB")
    image = _shrink(image)
    if image.mode in {"RGBA", "LA"}:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    image = image.convert("RGB")
    return image.transpose(_TURNS[turned]) if turned in _TURNS else image


def _shrink(image: Image.Image) -> Image.Image:
    width, height = image.size
    size = preview_size(width, height)
    if size == image.size:
        return image
    box_width, box_height = min(width, MAX_ASPECT * height), min(height, MAX_ASPECT * width)
    left, top = (width - box_width) / 2, (height - box_height) / 2
    box = (left, top, left + box_width, top + box_height)
    return image.resize(size, Image.Resampling.BICUBIC, box=box, reducing_gap=2.0)


def _to_8_bit(image: Image.Image) -> Image.Image:
    """16-bit grey keeps its upper byte; wider and floating greys are stretched to their range."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode not in {"I", "F"}:
        return image
    values = np.nan_to_num(np.asarray(image)).astype(np.float64)  # in this order: infinities fit
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 255 or image.mode == "F":
        values = (values - low) * (255 / ((high - low) or 1))
    return Image.fromarray(values.astype(np.uint8))
