"""CLIP's two towers as ONNX graphs, written node by node from a state dict.

Exact for any `CLIPModel`, with three savings that change no result:

- the last layer computes queries and the feed-forward network only for the one token that is
  pooled (the class token of a picture, the end token of a text);
- rescaling and normalising of pixels are folded into the patch projection, so that the image
  tower takes the bytes of a resized picture;
- no padding mask before the text tower's last layer: attention is causal, and padding stands
  after the end token.

Names of weights are those of transformers' `CLIPModel`. Operators of the `com.microsoft` domain
are ONNX Runtime's fused kernels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper

from embeddings.encoders.finding.model_files import ClipConfig, TowerConfig
from embeddings.encoders.preparing.graph_builder import GraphBuilder, Weights
from embeddings.encoders.serving.preprocessing import Preprocessing


def text_tower(weights: Weights, config: ClipConfig, *, precision: str) -> onnx.ModelProto:
    """From token ids to embeddings float32 (n, dimension), not normalised.

    Inputs: `input_ids` int64 (n, length), `mask` int32 (n, length) with ones up to the end token,
    `end` int64 (n,), the end token's index.
    """
    graph = GraphBuilder(weights, precision)
    embeddings = "text_model.embeddings"
    tokens = graph.op("Gather", graph.weight(f"{embeddings}.token_embedding.weight"), "input_ids")
    length = graph.op("Shape", "input_ids", start=1, end=2)
    positions = graph.weight(f"{embeddings}.position_embedding.weight")
    hidden = graph.op(
        "Add", tokens, graph.op("Slice", positions, graph.ints(0), length, graph.ints(0))
    )
    end = graph.op("Unsqueeze", "end", graph.ints(1))
    pooled = _transformer(
        graph,
        hidden,
        config.text,
        prefix="text_model.encoder",
        final_norm="text_model.final_layer_norm",
        pool=lambda x: graph.op("GatherND", x, end, batch_dims=1),
        causal_mask="mask",
    )
    return graph.model(
        graph.exact(pooled, "text_projection"),
        helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["n", "length"]),
        helper.make_tensor_value_info("mask", TensorProto.INT32, ["n", "length"]),
        helper.make_tensor_value_info("end", TensorProto.INT64, ["n"]),
        dimension=config.dimension,
    )


def image_tower(
    weights: Weights, config: ClipConfig, preprocessing: Preprocessing, *, precision: str
) -> onnx.ModelProto:
    """From `pixels` uint8 (n, height, width, 3) to embeddings float32 (n, dimension).

    The embeddings are not normalised.
    """
    graph = GraphBuilder(weights, precision)
    width = config.image.hidden_size
    patches = graph.op("Add", _patches(graph, config, preprocessing), _positions(graph))
    count = graph.op("Shape", patches, start=0, end=1)
    shape = graph.op("Concat", count, graph.ints(1, width), axis=0)
    start = graph.op("Expand", _class_token(graph, width), shape)
    hidden = graph.layer_norm(
        graph.op("Concat", start, patches, axis=1),
        "vision_model.pre_layrnorm",
        config.image.layer_norm_eps,
    )
    first = graph.constant("first", np.array(0, np.int64))
    pooled = _transformer(
        graph,
        hidden,
        config.image,
        prefix="vision_model.encoder",
        final_norm="vision_model.post_layernorm",
        pool=lambda x: graph.op("Gather", x, first, axis=1),
        causal_mask="",
    )
    side = config.image_size
    return graph.model(
        graph.exact(pooled, "visual_projection"),
        helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", side, side, 3]),
        dimension=config.dimension,
    )


def _patches(graph: GraphBuilder, config: ClipConfig, preprocessing: Preprocessing) -> str:
    """Projected patches (n, patches, d); rescaling and normalising are in the projection.

    w · ((bytes · scale - mean) / std) = (w · scale / std) · bytes - Σ w · mean / std
    """
    side, grid = config.patch_size, config.image_size // config.patch_size
    pixels = graph.op("Reshape", "pixels", graph.ints(-1, grid, side, grid, side, 3))
    pixels = graph.op("Transpose", pixels, perm=[0, 1, 3, 2, 4, 5])
    rows = graph.op("Reshape", pixels, graph.ints(-1, side * side * 3))
    rows = graph.op("Cast", rows, to=TensorProto.FLOAT)
    kernel = graph.weights["vision_model.embeddings.patch_embedding.weight"]
    kernel = kernel.transpose(0, 2, 3, 1).astype(np.float64)
    mean, std = np.array(preprocessing.mean), np.array(preprocessing.std)
    width = config.image.hidden_size
    folded = (kernel * (preprocessing.scale / std)).reshape(width, -1).astype(np.float32)
    offset = -(kernel * (mean / std)).sum(axis=(1, 2, 3)).astype(np.float32)
    projected = graph.op(
        "Gemm",
        rows,
        graph.constant("patches.weight", folded.T),
        graph.constant("patches.bias", offset),
    )
    return graph.op("Reshape", projected, graph.ints(-1, grid * grid, width))


def _positions(graph: GraphBuilder) -> str:
    positions = graph.weights["vision_model.embeddings.position_embedding.weight"]
    return graph.constant("patches.positions", positions[1:])


def _class_token(graph: GraphBuilder, width: int) -> str:
    """The class token with its position: (1, 1, d)."""
    token = graph.weights["vision_model.embeddings.class_embedding"]
    position = graph.weights["vision_model.embeddings.position_embedding.weight"][0]
    return graph.constant("class_token", (token + position).reshape(1, 1, width))


def _transformer(
    graph: GraphBuilder,
    hidden: str,
    tower: TowerConfig,
    *,
    prefix: str,
    final_norm: str,
    pool: Callable[[str], str],
    causal_mask: str,
) -> str:
    """Hidden states (n, length, d) through all layers: the pooled, normalised token (n, d).

    Between attentions everything is (n · length, d), so that products are plain matrices.
    """
    shape, flat = graph.op("Shape", hidden), graph.ints(-1, tower.hidden_size)
    residual = graph.op("Reshape", hidden, flat)
    normed = graph.layer_norm(residual, f"{prefix}.layers.0.layer_norm1", tower.layer_norm_eps)
    for index in range(tower.layers):
        layer = f"{prefix}.layers.{index}"
        if index == tower.layers - 1:
            tokens = graph.op("Reshape", normed, shape)
            residual = pool(graph.op("Reshape", residual, shape))
            context = _pooled_attention(
                graph, normed, pool(tokens), tower, layer, shape=shape, mask=causal_mask
            )
            following = final_norm
        else:
            context = _attention(graph, normed, tower, layer, shape, causal=bool(causal_mask))
            following = f"{prefix}.layers.{index + 1}.layer_norm1"
        context = graph.op("Reshape", context, flat)
        out = f"{layer}.self_attn.out_proj"
        normed, residual = graph.add_norm(
            graph.linear(context, out),
            residual,
            graph.bias(out),
            f"{layer}.layer_norm2",
            tower.layer_norm_eps,
        )
        inner = graph.linear_bias(normed, f"{layer}.mlp.fc1")
        down = graph.linear(graph.activation(inner, tower.activation), f"{layer}.mlp.fc2")
        normed, residual = graph.add_norm(
            down, residual, graph.bias(f"{layer}.mlp.fc2"), following, tower.layer_norm_eps
        )
    return normed


def _attention(
    graph: GraphBuilder, normed: str, tower: TowerConfig, layer: str, shape: str, *, causal: bool
) -> str:
    names = [f"{layer}.self_attn.{part}_proj" for part in "qkv"]
    parts = graph.split(graph.linear(normed, *names), 3, tower.hidden_size)
    query, key, value = (graph.op("Reshape", part, shape) for part in parts)
    return graph.fused(
        "MultiHeadAttention",
        query,
        key,
        value,
        graph.bias(*names),
        num_heads=tower.heads,
        unidirectional=int(causal),
    )


def _pooled_attention(
    graph: GraphBuilder,
    normed: str,
    pooled: str,
    tower: TowerConfig,
    layer: str,
    *,
    shape: str,
    mask: str,
) -> str:
    """Attention of one query a row, the pooled token, over that row's tokens."""
    names = [f"{layer}.self_attn.{part}_proj" for part in "qkv"]
    parts = graph.split(graph.linear(normed, *names[1:]), 2, tower.hidden_size)
    key, value = (graph.op("Reshape", part, shape) for part in parts)
    query = graph.op(
        "Reshape", graph.linear(pooled, names[0]), graph.ints(-1, 1, tower.hidden_size)
    )
    inputs = [query, key, value, graph.bias(*names), *([mask] if mask else [])]
    return graph.fused("MultiHeadAttention", *inputs, num_heads=tower.heads)
