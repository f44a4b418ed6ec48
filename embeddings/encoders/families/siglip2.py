"""SigLIP 2 NaFlex: pictures keep their shape, as so many patches."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from PIL import Image

from embeddings.encoders.base import Modality
from embeddings.encoders.families import pictures
from embeddings.encoders.families.siglip import HALVES, Siglip
from embeddings.encoders.serving.preprocessing import Preprocessing

if TYPE_CHECKING:
    import torch


class Siglip2(Siglip):
    """A model of transformers' `Siglip2Model`."""

    model_type = "siglip2"
    picture_defaults: ClassVar[Mapping[str, Any]] = {
        "image_mean": HALVES,
        "image_std": HALVES,
        "resample": Image.Resampling.BILINEAR,
    }

    @functools.cached_property
    def preprocessing(self) -> Preprocessing:
        fields = {**self.picture_defaults, **pictures.read_configuration(self.directory)}
        return pictures.patched(fields, self.image_config.get("patch_size", 16))

    def towers(self) -> dict[Modality, torch.nn.Module]:
        from embeddings.encoders.families import patches, towers

        model = towers.load_model(self.directory)
        return {
            Modality.TEXT: towers.UnmaskedTextTower(model),
            Modality.IMAGE: patches.PatchTower(model, self.preprocessing),
        }
