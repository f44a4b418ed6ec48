"""One model of each family in the size of a public one, with random weights: nothing to download.

Networks and vocabularies are of the public models' sizes. A tokenizer made here knows the words of
the benchmark's captions, one token each, and no others: what tokenizing costs is lost in the rest.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks import material

VIT_B: Final = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
VIT_L: Final = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "patch_size": 14,
}
CLIP_PICTURES: Final = {"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}}
SQUARE: Final = {"size": {"height": 224, "width": 224}}


@dataclasses.dataclass(frozen=True, kw_only=True)
class FullSize:
    """What is built, and the public model that it stands for."""

    public: str
    family: str
    """What transformers calls it."""
    config: Mapping[str, Any]
    pictures: Mapping[str, Any]
    """Fields of `preprocessor_config.json`."""
    ends: Mapping[str, int]
    """Special tokens by what they are for: `start`, `end`, `pad`."""
    length: int
    """Tokens of a text at most."""


MODELS: Final[dict[str, FullSize]] = {
    "clip": FullSize(
        public="openai/clip-vit-base-patch32",
        family="clip",
        config={"text_config": {}, "vision_config": {}},
        pictures=CLIP_PICTURES,
        ends={"start": 49406, "end": 49407, "pad": 49407},
        length=77,
    ),
    "siglip": FullSize(
        public="google/siglip-base-patch16-224",
        family="siglip",
        config={"text_config": {}, "vision_config": {}},
        pictures=SQUARE,
        ends={"end": 1, "pad": 1},
        length=64,
    ),
    "siglip2": FullSize(
        public="google/siglip2-base-patch16-224",
        family="siglip",
        config={"text_config": {"vocab_size": 256000}, "vision_config": {}},
        pictures=SQUARE,
        ends={"end": 1, "pad": 0},
        length=64,
    ),
    "siglip2-naflex": FullSize(
        public="google/siglip2-base-patch16-naflex",
        family="siglip2",
        config={"text_config": {"vocab_size": 256000}, "vision_config": {}},
        pictures={"max_num_patches": 256, "patch_size": 16},
        ends={"end": 1, "pad": 0},
        length=64,
    ),
    "metaclip_2": FullSize(
        public="facebook/metaclip-2-worldwide-b32",
        family="metaclip_2",
        config={
            "text_config": {"vocab_size": 901629, "eos_token_id": 2, "bos_token_id": 0},
            "vision_config": {},
        },
        pictures=CLIP_PICTURES,
        ends={"start": 0, "end": 2, "pad": 1},
        length=77,
    ),
    "chinese_clip": FullSize(
        public="OFA-Sys/chinese-clip-vit-base-patch16",
        family="chinese_clip",
        config={"text_config": {"vocab_size": 21128}, "vision_config": {**VIT_B, "patch_size": 16}},
        pictures={**SQUARE, "do_center_crop": False},
        ends={"start": 101, "end": 102, "pad": 0},
        length=512,
    ),
    "altclip": FullSize(
        public="BAAI/AltCLIP",
        family="altclip",
        config={"text_config": {}, "vision_config": {**VIT_L, "image_size": 224}},
        pictures=CLIP_PICTURES,
        ends={"start": 0, "end": 2, "pad": 1},
        length=77,
    ),
    "sentences": FullSize(
        public="sentence-transformers/clip-ViT-B-32-multilingual-v1",
        family="distilbert",
        config={"vocab_size": 119547},
        pictures={},
        ends={"start": 101, "end": 102, "pad": 0},
        length=128,
    ),
}
PAIRED: Final = {"sentences": "clip"}
"""Text models, and the model whose pictures they are measured with."""


def build(name: str, folder: Path) -> str:
    """Write a model under `folder` where it is not there yet; what `MMSEARCH_MODEL` would say."""
    directory = folder / name
    if not (directory / "model.safetensors").exists():
        _write(MODELS[name], directory)
    return f"{directory}+{build(PAIRED[name], folder)}" if name in PAIRED else str(directory)


def _write(model: FullSize, directory: Path) -> None:
    import torch
    from transformers import AutoConfig, AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    torch.manual_seed(0)
    make: Any = AutoModel.from_config
    network = make(AutoConfig.for_model(model.family, **model.config))
    _tokenizer(model).save_pretrained(directory)
    if model.pictures:
        pictures = json.dumps(dict(model.pictures))
        (directory / "preprocessor_config.json").write_text(pictures, encoding="utf-8")
    else:
        _write_modules(directory)
    network.save_pretrained(directory)


def _tokenizer(model: FullSize) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = sorted({word for caption in _captions() for word in caption.split()})
    vocabulary = {f"<{kind}>": number for kind, number in model.ends.items()}
    vocabulary |= {"<unk>": 3} | {word: 1000 + number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    kinds = [kind for kind in ("start", "end") if kind in model.ends]
    around = ["<start>", "$A", "<end>"] if "start" in kinds else ["$A", "<end>"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=around, special_tokens=[(f"<{kind}>", model.ends[kind]) for kind in kinds]
    )
    fast: Any = PreTrainedTokenizerFast
    return fast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        model_max_length=model.length,
    )


def _captions() -> list[str]:
    from itertools import islice

    return list(islice(material.captions(seed=0), 5000))


def _write_modules(directory: Path) -> None:
    """The mean of the tokens, and a linear layer to CLIP's dimension."""
    import torch

    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense"}
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.{kind}"}
        for index, (path, kind) in enumerate(kinds.items())
    ]
    files: dict[str, Any] = {
        "modules.json": modules,
        "sentence_bert_config.json": {"max_seq_length": 128},
        "1_Pooling/config.json": {"pooling_mode_mean_tokens": True},
        "2_Dense/config.json": {
            "in_features": 768,
            "out_features": 512,
            "bias": False,
            "activation_function": "torch.nn.Identity",
        },
    }
    for name, content in files.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(json.dumps(content), encoding="utf-8")
    weight = torch.nn.Linear(768, 512, bias=False).state_dict()
    torch.save({"linear.weight": weight["weight"]}, directory / "2_Dense" / "pytorch_model.bin")
