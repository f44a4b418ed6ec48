"""AltCLIP: an XLM-RoBERTa beside CLIP's pictures, its first token pooled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from embeddings.encoders.families.contrastive import Contrastive

if TYPE_CHECKING:
    import torch


class AltClip(Contrastive):
    """A model of transformers' `AltCLIPModel`."""

    model_type = "altclip"

    @property
    def positions(self) -> int:
        # RoBERTa counts positions from the one after its padding's.
        text = self.text_config
        positions: int = text.get("max_position_embeddings", 514) - text.get("pad_token_id", 1) - 1
        return positions

    def _text_tower(self, model: Any) -> torch.nn.Module:
        from embeddings.encoders.families import towers

        return towers.AltClipTextTower(model)
