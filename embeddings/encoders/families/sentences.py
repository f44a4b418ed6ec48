"""The text tower of a sentence-transformers model as a torch module, for preparation alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file
from torch import nn

from embeddings.encoders.base import EncoderError
from embeddings.encoders.families.base import weight_files

ACTIVATIONS: Final = ("GELU", "Identity", "ReLU", "Tanh")
POOLINGS: Final = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean"}
"""How configurations say it, one switch each."""


class SentenceTower(nn.Module):
    """Tokens through a transformer, pooled, and through layers behind it."""

    def __init__(
        self,
        model: Any,
        *,
        pooling: Mapping[str, Any],
        dense: Sequence[tuple[Mapping[str, Any], Path]],
    ) -> None:
        super().__init__()
        self.model = model
        self.pooling = _pooling(pooling)
        self.layers = nn.Sequential(*(_dense(config, path) for config, path in dense)).eval()

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self.pooling == "cls":
            pooled = hidden[:, 0]
        else:
            mask = attention_mask.unsqueeze(2).to(hidden.dtype)
            pooled = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
        vectors: torch.Tensor = self.layers(pooled)
        return vectors


def _pooling(config: Mapping[str, Any]) -> str:
    """`cls` or `mean`."""
    switches = {name for name, on in config.items() if name.startswith("pooling_mode_") and on}
    asked = [config["pooling_mode"]] if "pooling_mode" in config else sorted(switches)
    names = [POOLINGS.get(name, name) for name in asked]
    if len(names) != 1 or names[0] not in POOLINGS.values():
        raise EncoderError(
            f"The model pools its tokens by {', '.join(map(str, names)) or 'nothing'}: only by cls "
            "or mean can be used."
        )
    return str(names[0])


def _dense(config: Mapping[str, Any], directory: Path) -> nn.Module:
    """One Dense module: a linear layer and its activation."""
    activation = str(config.get("activation_function", "Tanh")).rpartition(".")[2]
    if activation not in ACTIVATIONS:
        raise EncoderError(
            f"{directory} uses the activation {activation}: only {', '.join(ACTIVATIONS)} can be "
            "used."
        )
    linear = nn.Linear(config["in_features"], config["out_features"], bias=config.get("bias", True))
    [path] = weight_files(directory)
    try:
        state = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
        linear.load_state_dict({name.removeprefix("linear."): w for name, w in state.items()})
    except Exception as exc:
        raise EncoderError(
            f"The weights in {directory} cannot be loaded ({exc}): copy the model again."
        ) from exc
    return nn.Sequential(linear, getattr(nn, activation)())
