"""The picture tower of SigLIP 2 NaFlex as a torch module, for preparation alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from embeddings.encoders.families.towers import Normalise, features
from embeddings.encoders.serving.preprocessing import Preprocessing


class PatchTower(nn.Module):
    """Pictures of any shape as patches, those after the last of each masked."""

    def __init__(self, model: Any, preprocessing: Preprocessing) -> None:
        super().__init__()
        # Transformers resizes the table picture by picture, in a loop that no graph can hold.
        model.vision_model.embeddings.resize_positional_embeddings = resized_positions
        self.model = model
        self.normalise = Normalise(preprocessing)

    def forward(self, pixels: torch.Tensor, shapes: torch.Tensor) -> torch.Tensor:
        patches = self.normalise(pixels.reshape(*pixels.shape[:2], -1, 3)).flatten(2)
        index = torch.arange(pixels.shape[1], device=pixels.device)
        mask = (index < shapes.prod(dim=1, keepdim=True)).long()
        return features(
            self.model.get_image_features(
                pixel_values=patches, pixel_attention_mask=mask, spatial_shapes=shapes
            )
        )


def resized_positions(
    positional_embeddings: torch.Tensor, spatial_shapes: torch.Tensor, max_length: int
) -> torch.Tensor:
    """The positions (side, side, d), resized to each picture's shape: (n, max_length, d).

    `torch.nn.functional.interpolate`, bilinear and antialiased, as a product of matrices. What
    stands after a picture's last patch gets its first one's position, and is masked.
    """
    table = positional_embeddings
    index = torch.arange(max_length, device=table.device)
    rows, columns = spatial_shapes[:, :1], spatial_shapes[:, 1:]
    index = index * (index < rows * columns)
    down = _weights(index // columns, rows, table.shape[0])
    across = _weights(index % columns, columns, table.shape[1])
    weights = (down.unsqueeze(3) * across.unsqueeze(2)).flatten(2)
    return weights.to(table.dtype) @ table.flatten(0, 1)


def _weights(place: torch.Tensor, count: torch.Tensor, side: int) -> torch.Tensor:
    """Share of each of `side` old places in the new ones (n, length) of `count` (n, 1) in all.

    A triangle around the middle of the new place, at least one old place wide to either side.
    """
    scale = side / count.float()
    middle = (place.float() + 0.5) * scale
    old = torch.arange(side, device=place.device).float() + 0.5
    distance = (old - middle.unsqueeze(2)).abs() / scale.clamp(min=1).unsqueeze(2)
    shares = (1 - distance).clamp(min=0)
    return shares / shares.sum(dim=2, keepdim=True)
