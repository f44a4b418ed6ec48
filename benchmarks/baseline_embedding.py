"""How the original design embeds: transformers' processor and torch in fp32."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import CLIPModel, CLIPProcessor, CLIPTextConfig

from embeddings.encoders.base import Vectors, unit


class EmbeddingService:
    """CLIP through transformers."""

    def __init__(self, model: Path) -> None:
        self.model: Any = CLIPModel.from_pretrained(model)
        self.processor: Any = CLIPProcessor.from_pretrained(model)
        self.context_length = int(CLIPTextConfig.from_pretrained(model).max_position_embeddings)
        """Tokens that every text is padded to: CLIP's 77."""

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Float32 (len(texts), d), L2-normalised."""
        inputs = self.processor(
            text=list(texts),
            return_tensors="pt",
            padding="max_length",
            truncation=True,
            max_length=self.context_length,
        )
        with torch.inference_mode():
            return _rows(self.model.get_text_features(**inputs))

    def embed_images(self, images: Sequence[Image.Image]) -> Vectors:
        """Float32 (len(images), d), L2-normalised."""
        inputs = self.processor(images=list(images), return_tensors="pt")
        with torch.inference_mode():
            return _rows(self.model.get_image_features(**inputs))


def _rows(features: Any) -> Vectors:
    """Unit rows, from a tensor or from the output object that newer transformers return."""
    tensor = features if isinstance(features, torch.Tensor) else features.pooler_output
    return unit(tensor.float().numpy())
