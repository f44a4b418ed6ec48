"""A CLIP of a few thousand random weights, in every respect but size like a real one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode
from transformers.utils import logging as transformers_logging

from embeddings.encoders.families.clip import bpe_tokenizer

CONTEXT_LENGTH = 24
DIMENSION = 24
IMAGE_SIZE = 32

MERGES = [("t", "h"), ("th", "e</w>"), ("a", "n"), ("an", "d</w>"), ("r", "e"), ("re", "d</w>")]


def vocabulary() -> dict[str, int]:
    """Bytes, bytes at the end of a word, a few merges, and the two special tokens."""
    letters = bytes_to_unicode().values()  # type: ignore[no-untyped-call]
    tokens = [
        *letters,
        *(f"{letter}</w>" for letter in letters),
        *(left + right for left, right in MERGES),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    return {token: index for index, token in enumerate(tokens)}


def transformers_tokenizer() -> Any:
    """The reference's own tokenizer over the same vocabulary."""
    merges: Any = MERGES  # its annotation leaves out the pairs that it wants
    return CLIPTokenizer(vocab=vocabulary(), merges=merges)


def build_tiny_clip(
    directory: Path, *, activation: str = "quick_gelu", outlier: float = 1.0
) -> Path:
    """Write a model directory.

    `outlier` stretches one channel before every product: the others are then too small for 8 bits.
    """
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    tokens = vocabulary()
    text = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": len(tokens),
        "max_position_embeddings": CONTEXT_LENGTH,
        "hidden_act": activation,
        "bos_token_id": tokens["<|startoftext|>"],
        "eos_token_id": tokens["<|endoftext|>"],
        "pad_token_id": tokens["<|endoftext|>"],
    }
    image = {
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "image_size": IMAGE_SIZE,
        "patch_size": 8,
        "hidden_act": activation,
    }
    torch.manual_seed(0)
    model: Any = CLIPModel(
        CLIPConfig(text_config=text, vision_config=image, projection_dim=DIMENSION)
    )
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "layer_norm" in name and name.endswith("weight"):
                weight[0] *= outlier
            elif "bias" in name or "norm" in name:  # otherwise all zeros, or all ones
                weight.add_(0.1 * torch.randn_like(weight))
    model.save_pretrained(directory)
    preprocessing = {
        "size": {"shortest_edge": IMAGE_SIZE},
        "crop_size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
    }
    (directory / "preprocessor_config.json").write_text(json.dumps(preprocessing), encoding="utf-8")
    tokenizer = bpe_tokenizer(tokens, MERGES)
    (directory / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    return directory
