"""A model of each family, of a few thousand random weights and a vocabulary made here."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from transformers import (
    AltCLIPConfig,
    AltCLIPModel,
    BertTokenizer,
    ChineseCLIPConfig,
    ChineseCLIPModel,
    CLIPConfig,
    CLIPModel,
    CLIPTokenizer,
    DistilBertConfig,
    DistilBertModel,
    MetaClip2Config,
    MetaClip2Model,
    Siglip2Config,
    Siglip2Model,
    Siglip2Tokenizer,
    SiglipConfig,
    SiglipModel,
    SiglipTokenizer,
    XLMRobertaTokenizer,
)
from transformers.models.chinese_clip.image_processing_pil_chinese_clip import (
    ChineseCLIPImageProcessorPil,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil
from transformers.utils import logging as transformers_logging

from tests.embeddings.encoders.tiny_clip import MERGES, vocabulary

SIDE = 32
DIMENSION = 24
WORDS = ("the", "a", "red", "blue", "fox", "boat", "and", "in", "snow", "at", "night", "sea")
LETTERS = "abcdefghijklmnopqrstuvwxyz"

TOWER: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
PICTURES: dict[str, Any] = {**TOWER, "image_size": SIDE, "patch_size": 8}
SQUARE: dict[str, Any] = {"size": {"height": SIDE, "width": SIDE}}
CROP: dict[str, Any] = {"size": {"shortest_edge": SIDE}, "crop_size": SQUARE["size"]}


def _save(directory: Path, network: Callable[[Any], Any], config: Any, *others: Any) -> Path:
    """Write a network of random weights, and whatever else writes itself."""
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    torch.manual_seed(0)
    model = network(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))  # too alike, all zeros, or all ones
    for each in (model, *others):
        each.save_pretrained(directory)
    return directory


def xlm_roberta() -> Any:
    """Pieces with scores, in XLM-RoBERTa's order."""
    special = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    pieces = [("▁", -4.0), *((f"▁{word}", -3.0) for word in WORDS), *((c, -6.0) for c in LETTERS)]
    characters = [(character, -6.0) for character in "中文山שלום"]
    return XLMRobertaTokenizer(vocab=[*special, *pieces, *characters, ("<mask>", 0.0)])


def clip(directory: Path) -> Path:
    tokens = vocabulary()
    start, end = tokens["<|startoftext|>"], tokens["<|endoftext|>"]
    text = {
        **TOWER,
        "vocab_size": len(tokens),
        "max_position_embeddings": 24,
        "bos_token_id": start,
        "eos_token_id": end,
    }
    config = CLIPConfig(text_config=text, vision_config=PICTURES, projection_dim=DIMENSION)
    merges: Any = MERGES
    tokenizer = CLIPTokenizer(vocab=tokens, merges=merges, model_max_length=24)
    return _save(directory, CLIPModel, config, tokenizer, CLIPImageProcessorPil(**CROP))


def metaclip_2(directory: Path) -> Path:
    tokenizer = xlm_roberta()
    tokenizer.model_max_length = 24
    text = {
        **TOWER,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 24,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "projection_dim": DIMENSION,
    }
    pictures = {**PICTURES, "projection_dim": DIMENSION}
    config = MetaClip2Config(text_config=text, vision_config=pictures, projection_dim=DIMENSION)
    return _save(directory, MetaClip2Model, config, tokenizer, CLIPImageProcessorPil(**CROP))


def chinese_clip(directory: Path) -> Path:
    """With nothing but a `vocab.txt`, as the released models."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*WORDS, *LETTERS, *(f"##{letter}" for letter in LETTERS), *"中文山一只红色的狐狸"]
    text = {**TOWER, "vocab_size": len(special) + len(pieces), "max_position_embeddings": 40}
    config = ChineseCLIPConfig(text_config=text, vision_config=PICTURES, projection_dim=DIMENSION)
    processor = ChineseCLIPImageProcessorPil(**SQUARE, do_center_crop=False)
    _save(directory, ChineseCLIPModel, config, processor)
    (directory / "vocab.txt").write_text("\n".join([*special, *pieces]) + "\n", encoding="utf-8")
    return directory


def altclip(directory: Path) -> Path:
    tokenizer = xlm_roberta()
    text = {
        **TOWER,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 30,
        "project_dim": DIMENSION,
        "pad_token_id": 1,
    }
    config = AltCLIPConfig(text_config=text, vision_config=PICTURES, projection_dim=DIMENSION)
    return _save(directory, AltCLIPModel, config, tokenizer, CLIPImageProcessorPil(**CROP))


def siglip(directory: Path) -> Path:
    """With nothing but a `spiece.model`, as the first models."""
    directory.mkdir(parents=True, exist_ok=True)
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(WORDS), LETTERS, "中文 山 שלום"] * 3),
        model_writer=written,
        vocab_size=64,
        hard_vocab_limit=False,
        unk_id=2,
        eos_id=1,
        pad_id=0,
        bos_id=-1,
        minloglevel=2,
    )
    (directory / "spiece.model").write_bytes(written.getvalue())
    tokenizer = SiglipTokenizer(str(directory / "spiece.model"), model_max_length=16)
    config = SiglipConfig(
        text_config={
            **TOWER,
            "vocab_size": tokenizer.vocab_size,
            "max_position_embeddings": 16,
            "projection_size": TOWER["hidden_size"],
        },
        vision_config=PICTURES,
    )
    return _save(directory, SiglipModel, config, tokenizer, SiglipImageProcessorPil(**SQUARE))


def gemma(**rules: Any) -> Any:
    """Byte fallback and a few merges, an end token after each text."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    merges: Any = [("t", "h"), ("th", "e"), ("r", "e"), ("re", "d"), ("▁", "red")]
    pieces = [*(f"<0x{byte:02X}>" for byte in range(256)), "▁", *LETTERS]
    names = [*special, *pieces, *(left + right for left, right in merges)]
    tokenizer: Any = Siglip2Tokenizer(
        vocab={name: index for index, name in enumerate(names)},
        merges=merges,
        model_max_length=16,
        model_input_names=["input_ids"],
        **rules,
    )
    from tokenizers import processors

    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <eos>", special_tokens=[("<eos>", 1)]
    )
    return tokenizer


def siglip2(directory: Path) -> Path:
    tokenizer = gemma(padding_side="right")
    pictures = {**TOWER, "num_patches": 16, "patch_size": 8}
    text = {
        **TOWER,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 16,
        "projection_size": TOWER["hidden_size"],
    }
    config = Siglip2Config(text_config=text, vision_config=pictures)
    processor = Siglip2ImageProcessorPil(patch_size=8, max_num_patches=20, do_convert_rgb=True)
    return _save(directory, Siglip2Model, config, tokenizer, processor)


def siglip2_of_one_resolution(directory: Path) -> Path:
    """Of the type siglip, with the tokenizer of SigLIP 2."""
    tokenizer = gemma(padding_side="right")
    text = {
        **TOWER,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 16,
        "projection_size": TOWER["hidden_size"],
    }
    config = SiglipConfig(text_config=text, vision_config=PICTURES)
    processor = SiglipImageProcessorPil(**SQUARE, resample=2)
    return _save(directory, SiglipModel, config, tokenizer, processor)


def sentences(directory: Path) -> Path:
    """A text model of sentence-transformers: DistilBERT, the mean of its tokens, a linear layer."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*WORDS, *LETTERS, *(f"##{letter}" for letter in LETTERS), *"中文山"]
    names = dict.fromkeys([*special, *pieces])  # a letter may be a word
    vocabulary = {piece: index for index, piece in enumerate(names)}
    tokenizer = BertTokenizer(vocab=vocabulary, do_lower_case=False, model_max_length=40)
    config = DistilBertConfig(
        vocab_size=len(vocabulary),
        dim=32,
        hidden_dim=64,
        n_layers=2,
        n_heads=4,
        max_position_embeddings=40,
    )
    _save(directory, DistilBertModel, config, tokenizer)
    prefix = "sentence_transformers.models"
    files = {
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": f"{prefix}.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{prefix}.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Dense", "type": f"{prefix}.Dense"},
        ],
        "sentence_bert_config.json": {"max_seq_length": 30, "do_lower_case": True},
        "config_sentence_transformers.json": {"prompts": {"query": "find: ", "passage": "the "}},
        "1_Pooling/config.json": {
            "word_embedding_dimension": 32,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True,
        },
        "2_Dense/config.json": {
            "in_features": 32,
            "out_features": DIMENSION,
            "bias": False,
            "activation_function": "torch.nn.modules.linear.Identity",
        },
    }
    for name, content in files.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(json.dumps(content), encoding="utf-8")
    torch.save(
        {"linear.weight": torch.randn(DIMENSION, 32)}, directory / "2_Dense" / "pytorch_model.bin"
    )
    return directory


BUILDERS: dict[str, Callable[[Path], Path]] = {
    "clip": clip,
    "metaclip_2": metaclip_2,
    "chinese_clip": chinese_clip,
    "altclip": altclip,
    "siglip": siglip,
    "siglip2": siglip2,
    "siglip2 of one resolution": siglip2_of_one_resolution,
}
