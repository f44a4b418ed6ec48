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

Ready: TypeAlias = Mapping[str, NDArray[Any]]
"""One picture as the image tower takes it, by the name of the input."""

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
    def ready(self, image: Image.Image) -> Ready:
        """A picture of any mode and size, resized: often a fraction of its memory."""

    def feeds(self, images: Sequence[Image.Image | Ready]) -> dict[str, NDArray[Any]]:
        """The image tower's inputs for one picture or more, by name: those of `ready` stacked."""
        ready = [self.ready(each) if isinstance(each, Image.Image) else each for each in images]
        return {name: np.stack([each[name] for each in ready]) for name in ready[0]}

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

    def ready(self, image: Image.Image) -> Ready:
        """`pixels` uint8 (height, width, 3), RGB."""
        image = on_white(image)
        pixels = np.zeros((*self.crop, 3), np.uint8)
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
        pixels[row_top : row_top + rows, row_left : row_left + columns] = np.asarray(cut)
        return {"pixels": pixels}

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

    def ready(self, image: Image.Image) -> Ready:
        """Patches and how many of them are in the height and in the width of the picture.

        `pixels` uint8 (max_patches, patch_size · patch_size · 3), row by row, then zeros; `shapes`
        int64 (2,).
        """
        side = self.patch_size
        rows, columns = self.shape(image.size)
        resized = on_white(image).resize(
            (columns * side, rows * side), Image.Resampling(self.resample)
        )
        patches = np.asarray(resized).reshape(rows, side, columns, side, 3)
        pixels = np.zeros((self.max_patches, side * side * 3), np.uint8)
        pixels[: rows * columns] = patches.swapaxes(1, 2).reshape(rows * columns, -1)
        return {"pixels": pixels, "shapes": np.array([rows, columns], np.int64)}

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
