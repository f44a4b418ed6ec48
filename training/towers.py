"""The two towers' shapes, and the model that joins them."""

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel

from training.augment import SIDE
from training.teacher import DIMENSION

PATCH: Final = 12  # pixels
TEXT_LENGTH: Final = 32  # tokens


def build_model(vocabulary_size: int) -> CLIPModel:
    """A ``CLIPModel`` of the starter's shape with random weights.

    As in OpenAI's vocabulary the last two ids begin and end a text, and the end also pads.
    """
    config = CLIPConfig(
        text_config={
            "vocab_size": vocabulary_size,
            "hidden_size": 256,
            "intermediate_size": 1024,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "max_position_embeddings": TEXT_LENGTH,
            "hidden_act": "gelu",
            "projection_dim": DIMENSION,
            "pad_token_id": vocabulary_size - 1,
            "bos_token_id": vocabulary_size - 2,
            "eos_token_id": vocabulary_size - 1,
        },
        vision_config={
            "hidden_size": 192,
            "intermediate_size": 768,
            "num_hidden_layers": 6,
            "num_attention_heads": 3,
            "image_size": SIDE,
            "patch_size": PATCH,
            "hidden_act": "gelu",
            "projection_dim": DIMENSION,
        },
        projection_dim=DIMENSION,
    )
    return CLIPModel(config)


def encode_patches(model: CLIPModel, images: Tensor, *, halves: bool) -> tuple[Tensor, Tensor]:
    """The image tower's last hidden states of model input (n, 3, SIDE, SIDE).

    Gives (m, 1 + k, width), the class token first, and the k patches' positions int64 (m, k).
    With ``halves`` each picture's patches are dealt at random into two halves that are encoded
    apart, so m is 2n: first all first halves, then all second ones. It is FLIP's masking
    (Li et al. 2023) without throwing the other half away.
    """
    tower = model.vision_model
    tokens = tower.embeddings(images)
    n, patches, width = len(tokens), tokens.shape[1] - 1, tokens.shape[2]
    positions = torch.arange(patches).expand(n, -1)
    if halves:
        positions = torch.cat(torch.rand(n, patches).argsort(dim=1).chunk(2, dim=1))
        kept = (
            tokens[:, 1:].repeat(2, 1, 1).gather(1, positions.unsqueeze(-1).expand(-1, -1, width))
        )
        tokens = torch.cat([tokens[:, :1].repeat(2, 1, 1), kept], dim=1)
    hidden = tower.encoder(inputs_embeds=tower.pre_layrnorm(tokens)).last_hidden_state
    return hidden, positions


def image_vectors(model: CLIPModel, hidden: Tensor) -> Tensor:
    """Last hidden states to image vectors (n, DIMENSION), L2-normalised."""
    pooled = model.visual_projection(model.vision_model.post_layernorm(hidden[:, 0]))
    return functional.normalize(pooled.float(), dim=-1)


def _factors(product: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Two (rank, d) matrices whose transposed first times second comes nearest ``product``."""
    left, values, right = torch.linalg.svd(product)
    root = values[:rank].sqrt().unsqueeze(1)
    return root * left[:, :rank].T, root * right[:rank]


@torch.no_grad()
def start_like_trained(model: CLIPModel) -> None:
    """Start the image tower's attention where training usually takes it.

    Mimetic initialisation (Trockman and Kolter 2023): queries meet keys near the identity,
    values pass near its negative, positions begin as sinusoids. Small sets learn faster so.
    """
    tower = model.vision_model
    width, heads = tower.config.hidden_size, tower.config.num_attention_heads
    identity = torch.eye(width)
    for layer in tower.encoder.layers:
        attention = layer.self_attn
        for head in range(heads):
            rows = slice(head * width // heads, (head + 1) * width // heads)
            noise = torch.randn(width, width) / width**0.5
            query, key = _factors(0.7 * noise + 0.7 * identity, width // heads)
            attention.q_proj.weight[rows] = query
            attention.k_proj.weight[rows] = key
        noise = torch.randn(width, width) / width**0.5
        value, out = _factors(0.4 * noise - 0.4 * identity, width)
        attention.v_proj.weight.copy_(value)
        attention.out_proj.weight.copy_(out.T)
    side = SIDE // PATCH
    rates = 1 / 100 ** (torch.arange(width // 4) / (width // 4))
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    angles = [axis.reshape(-1, 1) * rates for axis in (y, x)]
    waves = torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)
    tower.embeddings.position_embedding.weight[1:] = 0.4 * waves
