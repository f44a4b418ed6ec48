"""From what a model directory says of its pictures to how they are prepared."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from PIL import Image

from embeddings.encoders.base import EncoderError
from embeddings.encoders.serving.preprocessing import Cropped, Patched

CONFIGURATIONS: Final = {
    "preprocessor_config.json": None,
    "processor_config.json": "image_processor",
}
"""Files that say it, best first, and the key it stands under."""
CLIP: Final[Mapping[str, Any]] = {
    "image_mean": (0.48145466, 0.4578275, 0.40821073),
    "image_std": (0.26862954, 0.26130258, 0.27577711),
    "resample": Image.Resampling.BICUBIC,
    "do_center_crop": True,
}
"""What transformers' `CLIPImageProcessor` does where a file is silent."""


def read_configuration(directory: Path) -> dict[str, Any]:
    """The image processor's fields; none where the directory has none."""
    for name, key in CONFIGURATIONS.items():
        path = directory / name
        if path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
            config: dict[str, Any] = found if key is None else found.get(key) or {}
            if config:
                return config
    return {}


def cropped(config: Mapping[str, Any], image_size: int) -> Cropped:
    """Translate the fields of an image processor that resizes and cuts.

    Raises EncoderError where they ask for what cannot be done.
    """
    crop = _pair(config.get("crop_size") or image_size)
    size: tuple[int, int] | int = crop
    if config.get("do_resize", True):
        asked = config.get("size") or {"shortest_edge": image_size}
        size = asked if isinstance(asked, int) else asked.get("shortest_edge") or _pair(asked)
    if not config["do_center_crop"]:
        if isinstance(size, int):
            raise EncoderError(
                "The model's preprocessor_config.json resizes the shorter edge without a "
                "centre crop: pictures would have no fixed shape. Set do_center_crop."
            )
        crop = size
    return Cropped(size=size, crop=crop, **_values(config))


def patched(config: Mapping[str, Any], patch_size: int) -> Patched:
    """Translate the fields of an image processor that cuts patches."""
    return Patched(
        patch_size=int(config.get("patch_size") or patch_size),
        max_patches=int(config.get("max_num_patches") or 256),
        **_values(config),
    )


def _values(config: Mapping[str, Any]) -> dict[str, Any]:
    rescale, normalise = config.get("do_rescale", True), config.get("do_normalize", True)
    return {
        "resample": int(config["resample"]),
        "scale": float(config.get("rescale_factor", 1 / 255)) if rescale else 1.0,
        "mean": _triple(config["image_mean"]) if normalise else (0.0, 0.0, 0.0),
        "std": _triple(config["image_std"]) if normalise else (1.0, 1.0, 1.0),
    }


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, Mapping):
        if "shortest_edge" in value:
            return int(value["shortest_edge"]), int(value["shortest_edge"])
        return int(value["height"]), int(value["width"])
    return int(value), int(value)


def _triple(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
