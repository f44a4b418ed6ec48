from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from embeddings.encoders.base import EncoderError, Purpose
from embeddings.encoders.families.clip import read_tokenizer
from embeddings.encoders.serving.tokenization import Tokenization, Tokenizer
from tests.embeddings.encoders.conftest import TEXTS
from tests.embeddings.encoders.tiny_clip import (
    CONTEXT_LENGTH,
    MERGES,
    transformers_tokenizer,
    vocabulary,
)

START, END = vocabulary()["<|startoftext|>"], vocabulary()["<|endoftext|>"]


CLIP = Tokenization(max_length=CONTEXT_LENGTH, pad_id=0, masks_padding=False)


@pytest.fixture(scope="module")
def tokenizer(tiny_clip: Path) -> Tokenizer:
    return Tokenizer(read_tokenizer(tiny_clip), CLIP)


def tokens(tokenizer: Tokenizer, *texts: str) -> list[list[int]]:
    return [row.tolist() for row in tokenizer.rows(texts)]


def test_tokens_equal_those_of_transformers(tokenizer: Tokenizer) -> None:
    reference = transformers_tokenizer()
    texts = [text for text in TEXTS if "<|" not in text]
    expected = reference(texts, truncation=True, max_length=CONTEXT_LENGTH)["input_ids"]

    assert tokens(tokenizer, *texts) == expected


def test_an_empty_text_is_start_and_end(tokenizer: Tokenizer) -> None:
    assert tokens(tokenizer, "") == [[START, END]]


def test_a_long_text_is_cut_and_keeps_its_end(tokenizer: Tokenizer) -> None:
    [row] = tokens(tokenizer, "the " * 25_000)

    assert row == [START, *[vocabulary()["the</w>"]] * (CONTEXT_LENGTH - 2), END]


def test_half_a_surrogate_pair_becomes_a_question_mark(tokenizer: Tokenizer) -> None:
    assert tokens(tokenizer, "a \ud83d b") == tokens(tokenizer, "a ? b")


def test_vocabulary_and_merges_make_the_same_tokenizer(
    tiny_clip: Path, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary()), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in MERGES), ""]
    (tmp_path / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    other = Tokenizer(read_tokenizer(tmp_path), CLIP)

    assert tokens(other, *TEXTS) == tokens(tokenizer, *TEXTS)


def test_a_directory_without_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"has no tokenizer: it needs tokenizer\.json"):
        read_tokenizer(tmp_path)


def padded(tiny_clip: Path, **rules: Any) -> dict[str, list[list[int]]]:
    """What the tower of a `Tokenization` with these rules gets for two texts."""
    tokenization = Tokenization(**{"max_length": 6, "pad_id": 7, **rules})
    tokenizer = Tokenizer(read_tokenizer(tiny_clip), tokenization)
    feeds = tokenizer.feeds(tokenizer.rows(["the", "the red"]))
    return {name: array.tolist() for name, array in feeds.items()}


THE, RED = vocabulary()["the</w>"], vocabulary()["red</w>"]


def test_padding_reaches_the_longest_and_is_masked(tiny_clip: Path) -> None:
    assert padded(tiny_clip) == {
        "input_ids": [[START, THE, END, 7], [START, THE, RED, END]],
        "attention_mask": [[1, 1, 1, 0], [1, 1, 1, 1]],
    }


def test_padding_reaches_the_end_where_the_model_was_trained_so(tiny_clip: Path) -> None:
    assert padded(tiny_clip, pads_to_max=True, masks_padding=False) == {
        "input_ids": [[START, THE, END, 7, 7, 7], [START, THE, RED, END, 7, 7]],
    }


def test_padding_stands_before_the_text_where_the_model_wants_it(tiny_clip: Path) -> None:
    assert padded(tiny_clip, pads_left=True) == {
        "input_ids": [[7, START, THE, END], [START, THE, RED, END]],
        "attention_mask": [[0, 1, 1, 1], [1, 1, 1, 1]],
    }


def test_prompts_stand_before_texts_of_their_purpose(tiny_clip: Path) -> None:
    tokenization = dataclasses.replace(CLIP, prompts={Purpose.QUERY: "the "})
    tokenizer = Tokenizer(read_tokenizer(tiny_clip), tokenization)

    assert [
        tokenizer.rows(["red"], purpose)[0].tolist()
        for purpose in (Purpose.QUERY, Purpose.DOCUMENT)
    ] == [[START, THE, RED, END], [START, RED, END]]


def test_rules_survive_json() -> None:
    rules = dataclasses.replace(CLIP, lower=True, prompts={Purpose.QUERY: "find: "})

    assert Tokenization.from_json(json.loads(json.dumps(rules.to_json()))) == rules
