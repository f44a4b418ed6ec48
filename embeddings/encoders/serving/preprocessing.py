"""CLIP's image preprocessing with Pillow and NumPy alone, as `preprocessor_config.json` says."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embeddings.encoders.base import EncoderError

Pixels: TypeAlias = NDArray[np.uint8]
"""uint8 (n, height, width, 3), RGB."""

OPENAI_MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD: Final = (0.26862954, 0.26130258, 0.27577711)
LONGEST: Final = 8
"""Up to this many times the crop, a picture is resized whole and the bytes equal the reference.

Longer strips (a 12,000 × 50 panorama would become 53,760 × 224) are resized only where the crop
lies: within 2 of 255 on photographs; Pillow may then filter rows before columns, so noise differs.
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How a picture becomes the image tower's input.

    Bytes are resized and cropped exactly as the reference processor does; rescaling and
    normalising are left to the network's first layer (ONNX) or :meth:`normalise` (torch).
    """

    size: tuple[int, int] | int
    """(height, width) to stretch to, or the length of the shorter edge."""
    crop: tuple[int, int]
    """(height, width) of the network's input, cut from the centre."""
    resample: int
    """Pillow's number of the resampling filter."""
    scale: float
    """Factor from bytes to the unit interval."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def from_directory(cls, directory: Path, image_size: int) -> Preprocessing:
        """Read a model directory; without a configuration CLIP's own values at `image_size`.

        Raises EncoderError where the configuration asks for what this module cannot do.
        """
        config: dict[str, Any] = {}
        for name, key in (
            ("preprocessor_config.json", None),
            ("processor_config.json", "image_processor"),
        ):
            path = directory / name
            if path.is_file():
                found = json.loads(path.read_text(encoding="utf-8"))
                config = found if key is None else found.get(key) or {}
                if config:
                    break
        return cls.from_config(config, image_size)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], image_size: int) -> Preprocessing:
        """Translate the fields of transformers' `CLIPImageProcessor`."""
        crop = _pair(config.get("crop_size", image_size))
        size: tuple[int, int] | int = crop
        if config.get("do_resize", True):
            asked = config.get("size", {"shortest_edge": image_size})
            size = asked if isinstance(asked, int) else asked.get("shortest_edge") or _pair(asked)
        if not config.get("do_center_crop", True):
            if isinstance(size, int):
                raise EncoderError(
                    "The model's preprocessor_config.json resizes the shorter edge without a "
                    "centre crop: pictures would have no fixed shape. Set do_center_crop."
                )
            crop = size
        normalise = config.get("do_normalize", True)
        return cls(
            size=size,
            crop=crop,
            resample=int(config.get("resample", Image.Resampling.BICUBIC)),
            scale=float(config.get("rescale_factor", 1 / 255))
            if config.get("do_rescale", True)
            else 1.0,
            mean=_triple(config.get("image_mean", OPENAI_MEAN)) if normalise else (0.0, 0.0, 0.0),
            std=_triple(config.get("image_std", OPENAI_STD)) if normalise else (1.0, 1.0, 1.0),
        )

    def to_json(self) -> dict[str, Any]:
        """Fields as JSON values, for the manifest of a prepared model."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Preprocessing:
        """Inverse of :meth:`to_json`."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in fields.items()
        }
        return cls(**values)

    @property
    def digest(self) -> str:
        """Hex digest of every field."""
        fields = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(fields.encode()).hexdigest()[:16]

    def pixels(self, images: Sequence[Image.Image]) -> Pixels:
        """Resize and crop pictures of any mode and size."""
        batch = np.zeros((len(images), *self.crop, 3), np.uint8)
        for row, image in zip(batch, images, strict=True):
            self._place(image if image.mode == "RGB" else image.convert("RGB"), row)
        return batch

    def normalise(self, pixels: Pixels) -> NDArray[np.float32]:
        """float32 (n, 3, height, width): what `CLIPModel` takes."""
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        values = (pixels * np.float32(self.scale) - mean) / std
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2), dtype=np.float32)

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


def _centre(length: int, crop: int) -> tuple[int, int, int]:
    """(start in the picture, length kept, start in the crop) along one axis.

    A picture shorter than the crop is padded with zeros, the odd one before it.
    """
    if length >= crop:
        return (length - crop) // 2, crop, 0
    return 0, length, -((length - crop) // 2)


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, Mapping):
        if "shortest_edge" in value:
            return int(value["shortest_edge"]), int(value["shortest_edge"])
        return int(value["height"]), int(value["width"])
    return int(value), int(value)


def _triple(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
