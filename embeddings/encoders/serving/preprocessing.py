"""Pictures to what an image tower takes, with Pillow and NumPy alone."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels: TypeAlias = NDArray[np.uint8]
"""uint8 (n, height, width, 3), RGB."""

LONGEST: Final = 8
"""Up to this many times the crop, a picture is resized whole and the bytes equal the reference.

Longer strips (a 12,000 × 50 panorama would become 53,760 × 224) are resized only where the crop
lies: within 2 of 255 on photographs; Pillow may then filter rows before columns, so noise differs.
"""
SCALE_STEP: Final = 1e-5
"""How closely the scale is sought at which a picture has the most patches."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing(ABC):
    """How pictures become the image tower's input.

    Bytes are resized exactly as the family's own processor does with Pillow; rescaling and
    normalising are left to the tower.
    """

    resample: int
    """Pillow's number of the resampling filter."""
    scale: float
    """Factor from bytes to the unit interval."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @abstractmethod
    def feeds(self, images: Sequence[Image.Image]) -> dict[str, NDArray[Any]]:
        """The image tower's inputs for pictures of any mode and size, by name."""

    def to_json(self) -> dict[str, Any]:
        """Fields as JSON values, for the manifest of a prepared model."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(fields: Mapping[str, Any]) -> Preprocessing:
        """Inverse of :meth:`to_json`."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in fields.items()
        }
        return Patched(**values) if "max_patches" in values else Cropped(**values)

    @property
    def digest(self) -> str:
        """Hex digest of every field."""
        fields = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(fields.encode()).hexdigest()[:16]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cropped(Preprocessing):
    """Every picture becomes one of the same shape: stretched to it, or its centre cut out."""

    size: tuple[int, int] | int
    """(height, width) to stretch to, or the length of the shorter edge."""
    crop: tuple[int, int]
    """(height, width) of the network's input, cut from the centre."""

    def feeds(self, images: Sequence[Image.Image]) -> dict[str, NDArray[Any]]:
        """`pixels` uint8 (n, height, width, 3)."""
        return {"pixels": self.pixels(images)}

    def pixels(self, images: Sequence[Image.Image]) -> Pixels:
        """Resize and crop pictures of any mode and size."""
        batch = np.zeros((len(images), *self.crop, 3), np.uint8)
        for row, image in zip(batch, images, strict=True):
            self._place(on_white(image), row)
        return batch

    def _place(self, image: Image.Image, row: NDArray[np.uint8]) -> None:
        """Write the centre of the resized `image` into `row`."""
        width, height = self._resized(image.size)
        top, rows, row_top = _centre(height, self.crop[0])
        left, columns, row_left = _centre(width, self.crop[1])
        filtering = Image.Resampling(self.resample)
        if max(width, height) <= LONGEST * max(self.crop):
            area = (left, top, left + columns, top + rows)
            cut = image.resize((width, height), filtering).crop(area)
        else:
            x, y = image.width / width, image.height / height
            box = (left * x, top * y, (left + columns) * x, (top + rows) * y)
            cut = image.resize((columns, rows), filtering, box=box)
        row[row_top : row_top + rows, row_left : row_left + columns] = np.asarray(cut)

    def _resized(self, size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) that a picture of `size` (width, height) is resized to."""
        if isinstance(self.size, tuple):
            return self.size[1], self.size[0]
        width, height = size
        if width <= height:
            return self.size, int(self.size * height / width)
        return int(self.size * width / height), self.size


@dataclasses.dataclass(frozen=True, kw_only=True)
class Patched(Preprocessing):
    """Every picture keeps its shape: as many whole patches as fit, up to a number (NaFlex)."""

    patch_size: int
    max_patches: int

    def feeds(self, images: Sequence[Image.Image]) -> dict[str, NDArray[Any]]:
        """Patches and how many of them are in the height and in the width of each picture.

        `pixels` uint8 (n, max_patches, patch_size · patch_size · 3), row by row, then zeros;
        `shapes` int64 (n, 2).
        """
        side = self.patch_size
        pixels = np.zeros((len(images), self.max_patches, side * side * 3), np.uint8)
        shapes = np.array([self.shape(image.size) for image in images], np.int64).reshape(-1, 2)
        for row, (rows, columns), image in zip(pixels, shapes.tolist(), images, strict=True):
            resized = on_white(image).resize(
                (columns * side, rows * side), Image.Resampling(self.resample)
            )
            patches = np.asarray(resized).reshape(rows, side, columns, side, 3)
            row[: rows * columns] = patches.swapaxes(1, 2).reshape(rows * columns, -1)
        return {"pixels": pixels, "shapes": shapes}

    def shape(self, size: tuple[int, int]) -> tuple[int, int]:
        """Patches of the height and the width of a picture of `size` (width, height).

        The largest scale at which they are no more than `max_patches`, by the same halvings as
        transformers' `Siglip2ImageProcessor`, so that roundings agree.
        """
        width, height = size
        least, most = SCALE_STEP / 10, 100.0
        while most - least >= SCALE_STEP:
            scale = (least + most) / 2
            if self._patches(height * scale) * self._patches(width * scale) <= self.max_patches:
                least = scale
            else:
                most = scale
        return self._patches(height * least), self._patches(width * least)

    def _patches(self, length: float) -> int:
        return max(1, math.ceil(length / self.patch_size))


def on_white(image: Image.Image) -> Image.Image:
    """The picture in RGB, what is transparent laid on white."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _centre(length: int, crop: int) -> tuple[int, int, int]:
    """(start in the picture, length kept, start in the crop) along one axis.

    A picture shorter than the crop is padded with zeros, the odd one before it.
    """
    if length >= crop:
        return (length - crop) // 2, crop, 0
    return 0, length, -((length - crop) // 2)
