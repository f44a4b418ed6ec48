"""SigLIP, and SigLIP 2 of one resolution: padding is read like words, pictures are stretched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from PIL import Image

from embeddings.encoders.base import Modality
from embeddings.encoders.families import texts
from embeddings.encoders.families.contrastive import Contrastive
from embeddings.encoders.serving.tokenization import Tokenization

if TYPE_CHECKING:
    import torch

HALVES: Final = (0.5, 0.5, 0.5)


class Siglip(Contrastive):
    """A model of transformers' `SiglipModel`."""

    model_type = "siglip"
    picture_defaults: ClassVar[Mapping[str, Any]] = {
        "image_mean": HALVES,
        "image_std": HALVES,
        "resample": Image.Resampling.BICUBIC,
        "size": {"height": 224, "width": 224},
        "do_center_crop": False,
    }

    @property
    def dimension(self) -> int:
        text = self.text_config
        dimension: int = text.get("projection_size") or text.get("hidden_size", 768)
        return dimension

    @property
    def positions(self) -> int:
        positions: int = self.text_config.get("max_position_embeddings", 64)
        return positions

    @property
    def tokenization(self) -> Tokenization:
        # The last token is pooled, whatever it is: training always filled up to 64 without a mask,
        # and lower-cased, which the tokenizers of SigLIP 2 leave to the caller.
        return texts.tokenization(
            self._tokenizer,
            self.positions,
            pads_to_max=True,
            masks_padding=False,
            lower=getattr(self._tokenizer, "do_lower_case", True),
            canonical=self._is_sentencepiece,
        )

    def serialised_tokenizer(self) -> str:
        if self._is_sentencepiece:
            return texts.from_sentencepiece(self._tokenizer)
        return texts.serialised(self._tokenizer)

    @property
    def _is_sentencepiece(self) -> bool:
        """Whether it is SigLIP's own tokenizer, and not the Gemma tokenizer of SigLIP 2."""
        return hasattr(self._tokenizer, "sp_model")

    def towers(self) -> dict[Modality, torch.nn.Module]:
        from embeddings.encoders.families import towers

        model = towers.load_model(self.directory)
        return {
            Modality.TEXT: towers.UnmaskedTextTower(model),
            Modality.IMAGE: towers.ImageTower(model, self.preprocessing),
        }
