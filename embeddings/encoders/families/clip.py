"""CLIP: byte-pair tokens, causal attention, the end token pooled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embeddings.encoders.base import EncoderError, Modality
from embeddings.encoders.families.base import PICTURE_FILES, Checkpoint
from embeddings.encoders.finding.naming import CONFIGURATION
from embeddings.encoders.serving.tokenization import Tokenization

if TYPE_CHECKING:
    import torch


class Clip(Checkpoint):
    """A model of transformers' `CLIPModel`."""

    model_type = "clip"
    small_files = (CONFIGURATION, "tokenizer.json", "vocab.json", "merges.txt", *PICTURE_FILES)

    @property
    def tokenization(self) -> Tokenization:
        # Attention is causal and padding stands after the pooled token: no mask is needed. The end
        # token of old configurations is found as the highest of the ids, so padding is the lowest.
        return Tokenization(
            max_length=self.text_config.get("max_position_embeddings", 77),
            pad_id=0,
            masks_padding=False,
        )

    def serialised_tokenizer(self) -> str:
        return read_tokenizer(self.directory)

    def towers(self) -> dict[Modality, torch.nn.Module]:
        from embeddings.encoders.families import towers

        model = towers.load_model(self.directory)
        return {
            Modality.TEXT: towers.UnmaskedTextTower(model),
            Modality.IMAGE: towers.ImageTower(model, self.preprocessing),
        }


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
