from __future__ import annotations

import json
from pathlib import Path

import pytest

from embeddings.encoders.base import EncoderError
from embeddings.encoders.families.clip import read_tokenizer
from embeddings.encoders.serving.tokenization import LEGACY_EOS, ClipTokenizer, pad
from tests.embeddings.encoders.conftest import TEXTS
from tests.embeddings.encoders.tiny_clip import (
    CONTEXT_LENGTH,
    MERGES,
    transformers_tokenizer,
    vocabulary,
)

START, END = vocabulary()["<|startoftext|>"], vocabulary()["<|endoftext|>"]


@pytest.fixture(scope="module")
def tokenizer(tiny_clip: Path) -> ClipTokenizer:
    return ClipTokenizer(read_tokenizer(tiny_clip), context_length=CONTEXT_LENGTH, eos_token_id=END)


def tokens(tokenizer: ClipTokenizer, *texts: str) -> list[list[int]]:
    return [row.tolist() for row in tokenizer.tokens(texts)]


def test_tokens_equal_those_of_transformers(tokenizer: ClipTokenizer) -> None:
    reference = transformers_tokenizer()
    texts = [text for text in TEXTS if "<|" not in text]
    expected = reference(texts, truncation=True, max_length=CONTEXT_LENGTH)["input_ids"]

    assert tokens(tokenizer, *texts) == expected


def test_an_empty_text_is_start_and_end(tokenizer: ClipTokenizer) -> None:
    assert tokens(tokenizer, "") == [[START, END]]


def test_a_long_text_is_cut_and_keeps_its_end(tokenizer: ClipTokenizer) -> None:
    [row] = tokens(tokenizer, "the " * 25_000)

    assert row == [START, *[vocabulary()["the</w>"]] * (CONTEXT_LENGTH - 2), END]


def test_half_a_surrogate_pair_becomes_a_question_mark(tokenizer: ClipTokenizer) -> None:
    assert tokens(tokenizer, "a \ud83d b") == tokens(tokenizer, "a ? b")


def test_tokens_stop_at_the_first_end_token(tokenizer: ClipTokenizer) -> None:
    [row] = tokens(tokenizer, "a <|endoftext|> b")

    assert row.index(END) == len(row) - 1


def test_the_legacy_end_token_is_the_highest(tiny_clip: Path) -> None:
    tokenizer = ClipTokenizer(
        read_tokenizer(tiny_clip), context_length=CONTEXT_LENGTH, eos_token_id=LEGACY_EOS
    )

    assert tokens(tokenizer, "the red") == [
        [START, vocabulary()["the</w>"], vocabulary()["red</w>"], END]
    ]


def test_vocabulary_and_merges_make_the_same_tokenizer(
    tiny_clip: Path, tmp_path: Path, tokenizer: ClipTokenizer
) -> None:
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary()), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in MERGES), ""]
    (tmp_path / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    other = ClipTokenizer(read_tokenizer(tmp_path), context_length=CONTEXT_LENGTH, eos_token_id=END)

    assert tokens(other, *TEXTS) == tokens(tokenizer, *TEXTS)


def test_a_directory_without_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"has no tokenizer: it needs tokenizer\.json"):
        read_tokenizer(tmp_path)


def test_padding_reaches_the_longest(tokenizer: ClipTokenizer) -> None:
    ids, lengths = pad(tokenizer.tokens(["the", "the red and the"]))

    assert ids.shape == (2, 6)
    assert lengths.tolist() == [3, 6]
    assert ids[0].tolist() == [START, vocabulary()["the</w>"], END, 0, 0, 0]
