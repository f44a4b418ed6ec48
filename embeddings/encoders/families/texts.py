"""From a model directory's tokenizer, of whatever files, to one in JSON; by transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from embeddings.encoders.base import EncoderError
from embeddings.encoders.serving.tokenization import Tokenization

VOCABULARIES: Final = (
    "tokenizer.json",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
"""Files that hold one; without any, transformers makes a tokenizer of a few tokens up."""
UNLIMITED: Final = 1_000_000
"""A `model_max_length` above this says that the tokenizer knows none."""


def load_tokenizer(directory: Path) -> Any:
    """The tokenizer as transformers reads it. Raises EncoderError."""
    from transformers import AutoTokenizer

    if not any((directory / name).is_file() for name in VOCABULARIES):
        raise EncoderError(
            f"{directory} has no tokenizer: it needs tokenizer.json, or one of "
            f"{', '.join(VOCABULARIES[1:])}."
        )
    try:
        return AutoTokenizer.from_pretrained(directory, local_files_only=True)
    except Exception as exc:
        raise EncoderError(
            f"{directory} has no tokenizer that can be read ({exc}): copy tokenizer.json, or the "
            "files that it can be made from."
        ) from exc


def serialised(tokenizer: Any) -> str:
    """JSON of the library tokenizers."""
    text: str = tokenizer.backend_tokenizer.to_str()
    return text


def from_sentencepiece(tokenizer: Any) -> str:
    """JSON of the library tokenizers for one that sentencepiece runs (SigLIP's).

    Texts come in canonical, one space between words and `▁` before the first.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers.convert_slow_tokenizer import import_protobuf

    schema: Any = import_protobuf()  # type: ignore[no-untyped-call]
    model = schema.ModelProto.FromString(tokenizer.sp_model.serialized_model_proto())
    pieces = [(piece.piece, piece.score) for piece in model.pieces]
    unigram = models.Unigram(
        pieces, unk_id=model.trainer_spec.unk_id, byte_fallback=model.trainer_spec.byte_fallback
    )
    fast: Any = Tokenizer(unigram)
    one_space = [normalizers.Replace(Regex(" +"), " "), normalizers.Strip(left=False)]
    charsmap = model.normalizer_spec.precompiled_charsmap
    characters = [normalizers.Precompiled(charsmap)] if charsmap else []
    fast.normalizer = normalizers.Sequence([*characters, *one_space])
    fast.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    end, end_id = tokenizer.eos_token, tokenizer.eos_token_id
    fast.post_processor = processors.TemplateProcessing(
        single=f"$A {end}", special_tokens=[(end, end_id)]
    )
    text: str = fast.to_str()
    return text


def tokenization(tokenizer: Any, positions: int, **rules: Any) -> Tokenization:
    """The tokenizer's own rules, at most as many tokens as the network has positions."""
    limit = tokenizer.model_max_length
    return Tokenization(
        max_length=min(positions, limit) if limit < UNLIMITED else positions,
        pad_id=tokenizer.pad_token_id or 0,
        pads_left=tokenizer.padding_side == "left",
        **rules,
    )
