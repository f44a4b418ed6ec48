"""One model of each family in the size of a public one, with random weights: nothing to download.

Networks and vocabularies are of the public models' sizes: costs are real, results mean nothing. A
tokenizer made here knows the words of the benchmarks' captions, one token each, and no others: what
tokenizing costs is lost in the rest.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from benchmarks.material import WORK, captions

FOLDER: Final = WORK / "models"
PREPARED: Final = FOLDER / "prepared"
CALIBRATED_ON: Final = 8
"""Pictures, and captions, of the demo catalogue that give the ranges of int8."""
CROPPED: Final = {"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}}
SQUARE: Final = {"size": {"height": 224, "width": 224}}
PATCHES: Final = {"max_num_patches": 256, "patch_size": 16}
UNCROPPED: Final = {**SQUARE, "do_center_crop": False}
CLIP: Final = {"start": 49406, "end": 49407, "pad": 49407}
SIGLIP: Final = {"end": 1, "pad": 1}
GEMMA: Final = {"end": 1, "pad": 0}
BERT: Final = {"start": 101, "end": 102, "pad": 0}
ROBERTA: Final = {"start": 0, "end": 2, "pad": 1}
BASE_16: Final = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "patch_size": 16,
}
LARGE_14: Final = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
    "image_size": 224,
}


@dataclasses.dataclass(frozen=True)
class FullSize:
    """What is built, and the public model that it stands for."""

    public: str
    family: str
    """What transformers calls it."""
    ends: Mapping[str, int]
    """Special tokens by what they are for: `start`, `end`, `pad`."""
    pictures: Mapping[str, Any] | None
    """Fields of `preprocessor_config.json`; None where it knows texts alone."""
    length: int = 77
    """Tokens of a text at most."""
    text: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    vision: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What its configuration says beside the family's defaults."""

    def config(self) -> Any:
        from transformers import AutoConfig

        towers = {"text_config": dict(self.text), "vision_config": dict(self.vision)}
        return AutoConfig.for_model(self.family, **(towers if self.pictures else self.text))


MODELS: Final = {
    "clip": FullSize("openai/clip-vit-base-patch32", "clip", CLIP, CROPPED),
    "siglip": FullSize("google/siglip-base-patch16-224", "siglip", SIGLIP, SQUARE, 64),
    "siglip2": FullSize(
        "google/siglip2-base-patch16-224", "siglip", GEMMA, SQUARE, 64, {"vocab_size": 256000}
    ),
    "siglip2-naflex": FullSize(
        "google/siglip2-base-patch16-naflex", "siglip2", GEMMA, PATCHES, 64, {"vocab_size": 256000}
    ),
    "metaclip_2": FullSize(
        "facebook/metaclip-2-worldwide-b32",
        "metaclip_2",
        ROBERTA,
        CROPPED,
        text={"vocab_size": 901629, "eos_token_id": 2, "bos_token_id": 0},
    ),
    "chinese_clip": FullSize(
        "OFA-Sys/chinese-clip-vit-base-patch16",
        "chinese_clip",
        BERT,
        UNCROPPED,
        512,
        {"vocab_size": 21128},
        BASE_16,
    ),
    "altclip": FullSize("BAAI/AltCLIP", "altclip", ROBERTA, CROPPED, vision=LARGE_14),
    "sentences": FullSize(
        "sentence-transformers/clip-ViT-B-32-multilingual-v1",
        "distilbert",
        BERT,
        None,
        128,
        {"vocab_size": 119547},
    ),
}
PAIRED: Final = {"sentences": "clip"}
"""Text models, and the model whose pictures they are measured with."""


def build(name: str) -> str:
    """Write a model where it is not there yet; what `MMSEARCH_MODEL` would say."""
    directory = FOLDER / name
    if not (directory / "model.safetensors").exists():
        _write(MODELS[name], directory)
    return f"{directory}+{build(PAIRED[name])}" if name in PAIRED else str(directory)


def prepare(name: str) -> str:
    """Prepare a model as a user's is, unless an earlier run did; what `MMSEARCH_MODEL` would say.

    int8 is insisted on: random weights say nothing about what quantising costs in quality, and
    the cost in time is the same.
    """
    from embeddings.encoders.preparing.export import export_missing
    from embeddings.encoders.preparing.parity import demo_samples

    def samples() -> dict[Any, Sequence[Any]]:
        return {kind: every[:CALIBRATED_ON] for kind, every in demo_samples().items()}

    model = build(name)
    export_missing(
        model,
        PREPARED,
        precision="int8",
        samples=samples,
        progress=lambda message: print(message, file=sys.stderr),
    )
    return model


def _write(model: FullSize, directory: Path) -> None:
    import torch
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    torch.manual_seed(0)
    make: Any = AutoModel.from_config
    network = make(model.config())
    _tokenizer(model).save_pretrained(directory)
    files = {"preprocessor_config.json": model.pictures} if model.pictures else _modules(directory)
    for name, content in files.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(json.dumps(content), encoding="utf-8")
    network.save_pretrained(directory)


def _tokenizer(model: FullSize) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = sorted({word for text in islice(captions(seed=0), 5000) for word in text.split()})
    vocabulary = {f"<{kind}>": number for kind, number in model.ends.items()}
    vocabulary |= {"<unk>": 3} | {word: 1000 + number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    kinds = [kind for kind in ("start", "end") if kind in model.ends]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=["<start>", "$A", "<end>"][-len(kinds) - 1 :],
        special_tokens=[(f"<{kind}>", model.ends[kind]) for kind in kinds],
    )
    fast: Any = PreTrainedTokenizerFast
    return fast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        model_max_length=model.length,
    )


def _modules(directory: Path) -> dict[str, Any]:
    """sentence-transformers' files: the mean of the tokens, a linear layer to CLIP's dimension."""
    import torch

    dense = directory / "2_Dense"
    dense.mkdir()
    weight = torch.nn.Linear(768, 512, bias=False).weight.detach()
    torch.save({"linear.weight": weight}, dense / "pytorch_model.bin")
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense"}
    return {
        "modules.json": [
            {"idx": idx, "name": str(idx), "path": path, "type": f"sentence_transformers.{kind}"}
            for idx, (path, kind) in enumerate(kinds.items())
        ],
        "sentence_bert_config.json": {"max_seq_length": 128},
        "1_Pooling/config.json": {"pooling_mode_mean_tokens": True},
        "2_Dense/config.json": {
            "in_features": 768,
            "out_features": 512,
            "bias": False,
            "activation_function": "torch.nn.Identity",
        },
    }
