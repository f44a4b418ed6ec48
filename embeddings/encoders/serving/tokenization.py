"""CLIP's byte-pair tokens without importing torch or transformers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embeddings.encoders.base import EncoderError

LEGACY_EOS = 2
"""Configurations older than transformers 4.31 carry this wrong end token: the true one is the
highest of the vocabulary, so the pooled token is where the ids are highest."""


class ClipTokenizer:
    """Texts to token ids, each cut after its end token. Thread-safe."""

    def __init__(self, serialised: str, *, context_length: int, eos_token_id: int) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_str(serialised)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length=context_length)
        self._eos = eos_token_id

    def tokens(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """int64 (length,) for each text, at most the context length, the end token last."""
        encoded = self._tokenizer.encode_batch_fast([_encodable(text) for text in texts])
        return [self._cut(np.array(encoding.ids, np.int64)) for encoding in encoded]

    def _cut(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Drop what stands after the pooled token: causal attention never looks there."""
        if self._eos == LEGACY_EOS:
            return ids[: int(ids.argmax()) + 1]
        return ids[: int((ids == self._eos).argmax()) + 1]


def pad(rows: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Token ids int64 (n, longest), zeros after each row's end, and lengths int64 (n,)."""
    lengths = np.array([len(row) for row in rows], np.int64)
    ids = np.zeros((len(rows), int(lengths.max())), np.int64)
    for target, row in zip(ids, rows, strict=True):
        target[: len(row)] = row
    return ids, lengths


def read_tokenizer(directory: Path) -> str:
    """The serialised tokenizer of a model directory.

    Raises EncoderError where the directory has none.
    """
    path = directory / "tokenizer.json"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    vocabulary, merges = directory / "vocab.json", directory / "merges.txt"
    if not (vocabulary.is_file() and merges.is_file()):
        raise EncoderError(
            f"{directory} has no tokenizer: it needs tokenizer.json, or vocab.json and merges.txt."
        )
    pairs = [
        (left, right)
        for left, _, right in (
            line.partition(" ") for line in merges.read_text(encoding="utf-8").splitlines()[1:]
        )
        if right
    ]
    return bpe_tokenizer(json.loads(vocabulary.read_text(encoding="utf-8")), pairs)


def bpe_tokenizer(vocabulary: dict[str, int], merges: Sequence[tuple[str, str]]) -> str:
    """Serialise CLIP's tokenizer over a vocabulary and its merges.

    The vocabulary names the start and end tokens `<|startoftext|>` and `<|endoftext|>`.
    """
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    start, end = "<|startoftext|>", "<|endoftext|>"
    model = models.BPE(
        vocab=vocabulary,
        merges=list(merges),
        end_of_word_suffix="</w>",
        unk_token=end,
    )
    tokenizer: Any = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.post_processor = processors.RobertaProcessing(
        (end, vocabulary[end]),
        (start, vocabulary[start]),
        trim_offsets=False,
        add_prefix_space=False,
    )
    serialised: str = tokenizer.to_str()
    return serialised


def _encodable(text: str) -> str:
    """Half of a surrogate pair has no UTF-8: a question mark stands for it."""
    return text.encode("utf-8", "replace").decode("utf-8")
