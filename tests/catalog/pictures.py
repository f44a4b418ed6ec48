"""Pictures that look like something: smooth colours, so that turns and crops can be seen."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ORIENTATION = 0x0112


def photo(width: int = 64, height: int = 48) -> Image.Image:
    """Red grows to the right, green downwards; no two corners are alike."""
    x = np.linspace(0, 255, width, dtype=np.uint8)
    y = np.linspace(0, 255, height, dtype=np.uint8)
    red, green = np.meshgrid(x, y)
    return Image.fromarray(np.stack([red, green, np.full_like(red, 60)], axis=-1))


def encoded(image: Image.Image, image_format: str = "JPEG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def turned(image: Image.Image, orientation: int) -> bytes:
    """A JPEG that says how it is to be turned."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encoded(image, exif=exif, quality=95)


def opened(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image


def corners(image: Image.Image) -> list[tuple[int, ...]]:
    """Mean colour near the four corners, clockwise from the upper left."""
    width, height = image.size
    dx, dy = max(width // 8, 1), max(height // 8, 1)
    boxes = [
        (0, 0, dx, dy),
        (width - dx, 0, width, dy),
        (width - dx, height - dy, width, height),
        (0, height - dy, dx, height),
    ]
    pixels = np.asarray(image.convert("RGB"), dtype=float)
    return [
        tuple(int(c) for c in pixels[top:bottom, left:right].mean(axis=(0, 1)).round())
        for left, top, right, bottom in boxes
    ]


def near(left: list[tuple[int, ...]], right: list[tuple[int, ...]], tolerance: int = 12) -> bool:
    """Whether colours agree but for what compression and rescaling do to them."""
    return bool(np.abs(np.array(left) - np.array(right)).max() <= tolerance)


def files(folder: Path) -> list[str]:
    """Every file below a folder, relative to it."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
