"""The networks of all families as torch modules, for preparation alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModel
from transformers.utils import logging as transformers_logging

from embeddings.encoders.base import EncoderError
from embeddings.encoders.serving.preprocessing import Preprocessing


def load_model(directory: Path) -> Any:
    """The transformers model in a directory, in full precision. Raises EncoderError."""
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model = AutoModel.from_pretrained(directory, dtype=torch.float32, local_files_only=True)
    except Exception as exc:
        raise EncoderError(
            f"The weights in {directory} cannot be loaded ({exc}): copy the model again."
        ) from exc
    return model.eval()


class TextTower(nn.Module):
    """Texts, padded where the mask is 0."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return features(
            self.model.get_text_features(input_ids=input_ids, attention_mask=attention_mask)
        )


class UnmaskedTextTower(nn.Module):
    """Texts whose padding stands where causal attention never looks, or is read like words."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return features(self.model.get_text_features(input_ids=input_ids))


class AltClipTextTower(TextTower):
    """AltCLIP's: the first token pooled before what follows, which sees each token by itself.

    As transformers has it, pooled last, OpenVINO runs it in int8 with a dimension too many.
    """

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        text = self.model.text_model
        states = text.roberta(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        projected = text.transformation(text.pre_LN(states[:, 0]))
        vectors: torch.Tensor = self.model.text_projection(projected)
        return vectors


class ImageTower(nn.Module):
    """Pictures of one shape, rescaled and normalised within."""

    def __init__(self, model: Any, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.model = model
        self.normalise = Normalise(preprocessing)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        values = self.normalise(pixels).permute(0, 3, 1, 2)
        return features(self.model.get_image_features(pixel_values=values))


class Normalise(nn.Module):
    """Bytes (…, 3) to normalised values, in the precision of the network."""

    scale: torch.Tensor
    offset: torch.Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        mean, std = (torch.tensor(side, dtype=torch.float64) for side in _statistics(preprocessing))
        self.register_buffer("scale", (preprocessing.scale / std).float())
        self.register_buffer("offset", (-mean / std).float())

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.to(self.scale.dtype) * self.scale + self.offset


def features(output: Any) -> torch.Tensor:
    """The projected vectors of an output of transformers."""
    pooled: torch.Tensor = output.pooler_output
    return pooled


def _statistics(preprocessing: Preprocessing) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return preprocessing.mean, preprocessing.std
