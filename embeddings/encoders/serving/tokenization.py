"""Texts to what a text tower takes, as the model's own tokenizer does; no transformers needed."""

from __future__ import annotations

import dataclasses
import re
import string
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from embeddings.encoders.base import Purpose

Row: TypeAlias = NDArray[np.int64]
"""int64 (length,): the tokens of one text."""

WORD_START: Final = "▁"
"""Sentencepiece's mark before a word."""
WITHOUT_PUNCTUATION: Final = str.maketrans("", "", string.punctuation)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tokenization:
    """What is done around a serialised tokenizer."""

    max_length: int
    """Tokens of one text at most, start and end tokens included."""
    pad_id: int
    pads_to_max: bool = False
    """Whether a batch is filled up to `max_length`, or to its own longest text."""
    pads_left: bool = False
    masks_padding: bool = True
    """Whether the tower takes `attention_mask` besides `input_ids`.

    It does not where padding cannot change a vector, or was attended to in training.
    """
    lower: bool = False
    """Whether texts are lower-cased before the tokenizer sees them."""
    canonical: bool = False
    """Whether punctuation is dropped and white space made one space, as SigLIP's tokenizer does."""
    prompts: Mapping[Purpose, str] = dataclasses.field(default_factory=dict)
    """What is put before a text of each purpose; nothing where a purpose is missing."""

    def to_json(self) -> dict[str, Any]:
        """Fields as JSON values, for the manifest of a prepared model."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Tokenization:
        """Inverse of :meth:`to_json`."""
        prompts = {Purpose(purpose): prompt for purpose, prompt in fields["prompts"].items()}
        return cls(**{**fields, "prompts": prompts})


STEP: Final = 4
"""Lengths of batches are multiples of this: an engine keeps memory for every shape it meets."""
STEP_ALONE: Final = 8
"""The same of a text alone: another shape than the last one's costs a third of a short text."""


class Tokenizer:
    """A model's own tokenizer. Thread-safe."""

    def __init__(self, serialised: str, tokenization: Tokenization) -> None:
        from tokenizers import Tokenizer as Serialised

        self.tokenization = tokenization
        self._tokenizer = Serialised.from_str(serialised)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length=tokenization.max_length)

    def rows(self, texts: Sequence[str], purpose: Purpose = Purpose.DOCUMENT) -> list[Row]:
        """The tokens of each text, at most `max_length`."""
        prompt = self.tokenization.prompts.get(purpose, "")
        encoded = self._tokenizer.encode_batch_fast([self._plain(prompt + text) for text in texts])
        return [np.array(encoding.ids, np.int64) for encoding in encoded]

    def feeds(self, rows: Sequence[Row]) -> dict[str, NDArray[np.int64]]:
        """The text tower's inputs for one batch, int64 (n, length) each, by name."""
        rule = self.tokenization
        length = rule.max_length if rule.pads_to_max else min(rule.max_length, _padded(rows))
        ids = np.full((len(rows), length), rule.pad_id, np.int64)
        mask = np.zeros_like(ids)
        for index, row in enumerate(rows):
            place = slice(length - len(row), None) if rule.pads_left else slice(len(row))
            ids[index, place] = row
            mask[index, place] = 1
        return (
            {"input_ids": ids, "attention_mask": mask} if rule.masks_padding else {"input_ids": ids}
        )

    def _plain(self, text: str) -> str:
        """The text as the tokenizer gets it."""
        if self.tokenization.canonical:
            text = WORD_START + text.replace(WORD_START, " ")
        if self.tokenization.lower:
            text = text.lower()
        if self.tokenization.canonical:
            text = re.sub(r"\s+", " ", text.translate(WITHOUT_PUNCTUATION)).strip()
        # Half of a surrogate pair has no UTF-8: a question mark stands for it.
        return text.encode("utf-8", "replace").decode("utf-8")


def _padded(rows: Sequence[Row]) -> int:
    """The least length in steps that holds every row."""
    step = STEP if len(rows) > 1 else STEP_ALONE
    return -(-max(len(row) for row in rows) // step) * step
