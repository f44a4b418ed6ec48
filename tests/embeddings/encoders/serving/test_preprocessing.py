"""Against transformers' own processor, the reference."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from embeddings.encoders.base import EncoderError
from embeddings.encoders.families import pictures
from embeddings.encoders.serving.preprocessing import Cropped, Preprocessing

ODD_SIZES = [(64, 48), (33, 51), (32, 32), (31, 10), (1, 1), (97, 64), (40, 301), (301, 203)]


def noise(size: tuple[int, int]) -> Image.Image:
    random = np.random.default_rng(sum(size))
    return Image.fromarray(random.integers(0, 256, (size[1], size[0], 3)).astype(np.uint8))


def reference(config: dict[str, Any], image: Image.Image) -> np.ndarray:
    return np.asarray(CLIPImageProcessorPil(**config)(images=image)["pixel_values"])


def from_config(config: dict[str, Any], image_size: int) -> Cropped:
    return pictures.cropped({**pictures.CLIP, **config}, image_size)


def normalised(preprocessing: Cropped, image: Image.Image) -> np.ndarray:
    """What the reference makes of a picture's bytes, (1, 3, height, width)."""
    values = (preprocessing.feeds([image])["pixels"] * preprocessing.scale) - preprocessing.mean
    return (values / preprocessing.std).transpose(0, 3, 1, 2)


CONFIGS: dict[str, dict[str, Any]] = {
    "shortest edge": {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}},
    "plain numbers": {"size": 32, "crop_size": 32},
    "odd crop": {"size": {"shortest_edge": 40}, "crop_size": {"height": 33, "width": 31}},
    "crop beyond the picture": {"size": {"shortest_edge": 20}, "crop_size": 27},
    "stretched": {"size": {"height": 32, "width": 24}, "do_center_crop": False},
    "own statistics": {
        "size": {"shortest_edge": 32},
        "crop_size": 32,
        "resample": 2,
        "image_mean": [0.1, 0.2, 0.3],
        "image_std": [0.5, 0.6, 0.7],
    },
    "not normalised": {"size": {"shortest_edge": 32}, "crop_size": 32, "do_normalize": False},
    "not rescaled": {"size": {"shortest_edge": 32}, "crop_size": 32, "do_rescale": False},
}


@pytest.mark.parametrize("size", ODD_SIZES, ids=str)
@pytest.mark.parametrize("name", CONFIGS)
def test_pictures_become_what_the_reference_makes(name: str, size: tuple[int, int]) -> None:
    image, config = noise(size), CONFIGS[name]
    preprocessing = from_config(config, 32)

    got = normalised(preprocessing, image)

    np.testing.assert_allclose(got, reference(config, image), rtol=0, atol=2e-6 * 255)


def test_bytes_of_a_full_size_picture_equal_the_reference() -> None:
    image = noise((501, 333))
    preprocessing = from_config({}, 224)
    expected = reference({"do_normalize": False, "rescale_factor": 1.0}, image)

    got = preprocessing.feeds([image])["pixels"].transpose(0, 3, 1, 2)

    assert preprocessing.crop == (224, 224)
    np.testing.assert_array_equal(got, np.rint(expected).astype(np.uint8))


@pytest.mark.parametrize("size", [(1200, 5), (5, 1200)], ids=str)
def test_a_strip_stays_within_two_bytes_of_the_reference(size: tuple[int, int]) -> None:
    image = noise((7, 9)).resize(size, Image.Resampling.BICUBIC)
    preprocessing = from_config(CONFIGS["shortest edge"], 32)
    config = CONFIGS["shortest edge"] | {"do_normalize": False, "rescale_factor": 1.0}

    got = preprocessing.feeds([image])["pixels"].transpose(0, 3, 1, 2)

    np.testing.assert_allclose(got, reference(config, image), rtol=0, atol=2)


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGBA", "1"])
def test_other_modes_are_converted(mode: str) -> None:
    image = Image.new("RGB", (50, 40), "white").convert(mode)
    preprocessing = from_config(CONFIGS["shortest edge"], 32)

    assert (preprocessing.feeds([image])["pixels"] == 255).all()


def test_pictures_of_a_batch_do_not_touch_each_other() -> None:
    images = [noise(size) for size in ODD_SIZES]
    preprocessing = from_config(CONFIGS["shortest edge"], 32)

    together = preprocessing.feeds(images)["pixels"]

    assert together.shape == (len(images), 32, 32, 3)
    for row, image in zip(together, images, strict=True):
        np.testing.assert_array_equal(row, preprocessing.feeds([image])["pixels"][0])


@pytest.mark.parametrize("config", CONFIGS.values(), ids=list(CONFIGS))
def test_a_picture_made_ready_before_is_the_same_to_the_tower(config: dict[str, Any]) -> None:
    images = [noise(size) for size in ODD_SIZES]
    preprocessing = from_config(config, 32)

    ready = [preprocessing.ready(image) for image in images]

    for feeds in (preprocessing.feeds(ready), preprocessing.feeds([ready[0], *images[1:]])):
        np.testing.assert_array_equal(feeds["pixels"], preprocessing.feeds(images)["pixels"])


def test_without_a_configuration_clips_own_values_hold() -> None:
    assert from_config({}, 48) == Cropped(
        size=48,
        crop=(48, 48),
        resample=Image.Resampling.BICUBIC,
        scale=1 / 255,
        mean=pictures.CLIP["image_mean"],
        std=pictures.CLIP["image_std"],
    )


def test_a_shape_that_varies_is_refused() -> None:
    with pytest.raises(EncoderError, match="Set do_center_crop"):
        from_config({"do_center_crop": False}, 32)


@pytest.mark.parametrize("name", CONFIGS)
def test_fields_survive_json(name: str) -> None:
    preprocessing = from_config(CONFIGS[name], 32)

    assert Preprocessing.from_json(json.loads(json.dumps(preprocessing.to_json()))) == preprocessing


def test_the_digest_tells_configurations_apart() -> None:
    digests = {from_config(config, 32).digest for config in CONFIGS.values()}

    assert len(digests) == len(CONFIGS) - 1  # plain numbers mean the shortest edge
