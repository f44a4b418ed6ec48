"""Chinese CLIP: a BERT of Chinese characters, its first token pooled."""

from __future__ import annotations

from embeddings.encoders.families.contrastive import Contrastive


class ChineseClip(Contrastive):
    """A model of transformers' `ChineseCLIPModel`."""

    model_type = "chinese_clip"

    @property
    def positions(self) -> int:
        positions: int = self.text_config.get("max_position_embeddings", 512)
        return positions
