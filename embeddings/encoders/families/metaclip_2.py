"""MetaCLIP 2: CLIP's network over the pieces of XLM-RoBERTa's tokenizer."""

from __future__ import annotations

from embeddings.encoders.families.contrastive import Contrastive


class MetaClip2(Contrastive):
    """A model of transformers' `MetaClip2Model`."""

    model_type = "metaclip_2"
    masks_padding = False  # attention is causal, and padding stands after the pooled token

    @property
    def positions(self) -> int:
        positions: int = self.text_config.get("max_position_embeddings", 77)
        return positions
