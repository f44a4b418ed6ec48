"""Query texts of many threads, through real threads and an encoder that can be held."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from django.core.checks import CheckMessage
from PIL.Image import new as new_image

from embeddings import batching
from embeddings.batching import Batcher, QueryAbandoned
from embeddings.encoders.base import (
    Encoder,
    EncoderDescription,
    EncoderError,
    Modality,
    Purpose,
    Vectors,
)


class HeldEncoder(Encoder):
    """Encodes a text as its length; waits at `gate`, and remembers the batches it got."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.batches: list[list[str]] = []

    def describe(self) -> EncoderDescription:
        return EncoderDescription(
            model="held", revision="1", precision="fp32", preprocessing="none", dimension=1
        )

    def encode(
        self, modality: Modality, inputs: Sequence[Any], *, purpose: Purpose = Purpose.DOCUMENT
    ) -> Vectors:
        assert purpose is Purpose.QUERY
        texts = inputs if modality is Modality.TEXT else ["x" * image.width for image in inputs]
        self.batches.append(list(texts))
        self.entered.set()
        assert self.gate.wait(30)
        if "bad" in texts:
            raise EncoderError("bad cannot be encoded")
        return np.array([[len(text)] for text in texts], np.float32)

    def check(self) -> list[CheckMessage]:
        return []


@pytest.fixture
def encoder() -> HeldEncoder:
    return HeldEncoder()


@pytest.fixture
def batcher(encoder: HeldEncoder) -> Batcher:
    return Batcher(encoder, Modality.TEXT)


def hold(pool: ThreadPoolExecutor, batcher: Batcher, encoder: HeldEncoder) -> Future[np.ndarray]:
    """Start encoding "first" and return once the encoder is in the middle of it."""
    encoder.gate.clear()
    future = pool.submit(batcher.encode, "first")
    assert encoder.entered.wait(30)
    return future


def wait_for_callers(batcher: Batcher, count: int) -> None:
    """Return once `count` callers besides the encoding one are waiting."""
    pause = threading.Event()
    while sum(entry.callers for entry in list(batcher._entries.values())) < count + 1:
        pause.wait(0.001)


def test_a_lone_text_is_encoded_at_once(batcher: Batcher, encoder: HeldEncoder) -> None:
    vector = batcher.encode("abc")

    assert vector.dtype == np.float32
    assert vector.tolist() == [3.0]
    assert encoder.batches == [["abc"]]


def test_texts_that_arrive_meanwhile_are_encoded_together(
    batcher: Batcher, encoder: HeldEncoder
) -> None:
    with ThreadPoolExecutor(8) as pool:
        first = hold(pool, batcher, encoder)
        others = [pool.submit(batcher.encode, "x" * length) for length in range(1, 7)]
        wait_for_callers(batcher, 6)
        encoder.gate.set()
        answers = [future.result(30).tolist() for future in others]

    assert first.result().tolist() == [5.0]
    assert answers == [[float(length)] for length in range(1, 7)]
    assert [len(batch) for batch in encoder.batches] == [1, 4, 2]  # powers of two


def test_equal_texts_are_encoded_once(batcher: Batcher, encoder: HeldEncoder) -> None:
    with ThreadPoolExecutor(5) as pool:
        hold(pool, batcher, encoder)
        futures = [pool.submit(batcher.encode, text) for text in ("first", "a", "a", "a")]
        wait_for_callers(batcher, 4)
        encoder.gate.set()
        answers = [future.result(30).tolist() for future in futures]

    assert answers == [[5.0], [1.0], [1.0], [1.0]]
    assert encoder.batches == [["first"], ["a"]]


def test_a_batch_is_bounded(
    batcher: Batcher, encoder: HeldEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "MAX_BATCH", 2)
    with ThreadPoolExecutor(6) as pool:
        hold(pool, batcher, encoder)
        futures = [pool.submit(batcher.encode, "x" * length) for length in range(1, 6)]
        wait_for_callers(batcher, 5)
        encoder.gate.set()
        answers = [future.result(30).tolist() for future in futures]

    assert answers == [[float(length)] for length in range(1, 6)]
    assert [len(batch) for batch in encoder.batches] == [1, 2, 2, 1]


def test_a_recent_text_is_not_encoded_again(batcher: Batcher, encoder: HeldEncoder) -> None:
    assert batcher.encode("abc") is batcher.encode("abc")
    assert encoder.batches == [["abc"]]


def test_a_remembered_vector_cannot_be_changed(batcher: Batcher) -> None:
    with pytest.raises(ValueError, match="read-only"):
        batcher.encode("abc")[0] = 0


def test_the_least_recent_text_is_forgotten_first(
    batcher: Batcher, encoder: HeldEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "REMEMBERED", 2)
    for text in ("a", "b", "a", "c", "a", "b"):
        batcher.encode(text)

    assert encoder.batches == [["a"], ["b"], ["c"], ["b"]]


def test_a_very_long_text_is_not_remembered(batcher: Batcher, encoder: HeldEncoder) -> None:
    text = "x" * batching.LARGEST_REMEMBERED
    batcher.encode(text)
    batcher.encode(text)

    assert encoder.batches == [[text], [text]]


def test_a_text_that_fails_fails_alone_and_for_every_caller(
    batcher: Batcher, encoder: HeldEncoder
) -> None:
    with ThreadPoolExecutor(5) as pool:
        hold(pool, batcher, encoder)
        bad = [pool.submit(batcher.encode, "bad") for _ in range(2)]
        good = pool.submit(batcher.encode, "good")
        wait_for_callers(batcher, 3)
        encoder.gate.set()
        errors = [str(future.exception(30)) for future in bad]

    assert errors == ["bad cannot be encoded"] * 2
    assert good.result().tolist() == [4.0]


def test_a_failed_text_is_tried_again_next_time(batcher: Batcher, encoder: HeldEncoder) -> None:
    for _ in range(2):
        with pytest.raises(EncoderError, match=r"^bad cannot be encoded$"):
            batcher.encode("bad")

    assert encoder.batches == [["bad"], ["bad"]]


def test_a_text_that_nobody_waits_for_is_not_encoded(
    batcher: Batcher, encoder: HeldEncoder
) -> None:
    with ThreadPoolExecutor(3) as pool:
        hold(pool, batcher, encoder)
        waiting = pool.submit(batcher.encode, "waiting")
        with pytest.raises(EncoderError, match=r"^The query was not encoded within 0\.01 seconds"):
            batcher.encode("abandoned", timeout=0.01)
        wait_for_callers(batcher, 1)
        encoder.gate.set()
        waiting.result(30)

    assert encoder.batches == [["first"], ["waiting"]]


def test_whoever_has_gone_is_told_while_the_others_are_encoded(
    batcher: Batcher, encoder: HeldEncoder
) -> None:
    def gone() -> bool:
        encoder.gate.clear()  # the batch that leaves this text out is held
        return True

    with ThreadPoolExecutor(3) as pool:
        hold(pool, batcher, encoder)
        waiting = pool.submit(batcher.encode, "waiting")
        wait_for_callers(batcher, 1)
        abandoned = pool.submit(batcher.encode, "abandoned", is_abandoned=gone)
        wait_for_callers(batcher, 2)
        encoder.gate.set()
        error = abandoned.exception(20)
        encoder.gate.set()
        answer = waiting.result(20)

    assert str(error) == "The client has gone: its query was not computed."
    assert answer.tolist() == [7.0]
    assert encoder.batches == [["first"], ["waiting"]]


def test_a_text_that_somebody_else_waits_for_is_still_encoded(
    batcher: Batcher, encoder: HeldEncoder
) -> None:
    with ThreadPoolExecutor(3) as pool:
        hold(pool, batcher, encoder)
        waiting = pool.submit(batcher.encode, "shared")
        wait_for_callers(batcher, 1)
        with pytest.raises(EncoderError, match="overloaded"):
            batcher.encode("shared", timeout=0.01)
        encoder.gate.set()

    assert waiting.result().tolist() == [6.0]
    assert encoder.batches == [["first"], ["shared"]]


def test_many_threads_all_get_their_own_answer(batcher: Batcher, encoder: HeldEncoder) -> None:
    texts = ["x" * (index % 50 + 1) for index in range(2000)]
    with ThreadPoolExecutor(32) as pool:
        answers = [vector.tolist() for vector in pool.map(batcher.encode, texts)]

    assert answers == [[float(len(text))] for text in texts]
    assert sum(len(batch) for batch in encoder.batches) == 50


def test_a_text_whose_clients_have_all_gone_is_not_encoded(
    batcher: Batcher, encoder: HeldEncoder
) -> None:
    with ThreadPoolExecutor(5) as pool:
        first = hold(pool, batcher, encoder)
        gone = pool.submit(batcher.encode, "gone", is_abandoned=lambda: True)
        half_gone = [
            pool.submit(batcher.encode, "half gone", is_abandoned=lambda: True),
            pool.submit(batcher.encode, "half gone", is_abandoned=lambda: False),
        ]
        unwatched = pool.submit(batcher.encode, "unwatched")
        wait_for_callers(batcher, 4)
        encoder.gate.set()

        with pytest.raises(QueryAbandoned, match="The client has gone"):
            gone.result(30)
        assert [future.result(30).tolist() for future in half_gone] == [[9.0], [9.0]]
        assert unwatched.result(30).tolist() == [9.0]
        assert first.result(30).tolist() == [5.0]
    assert sorted(text for batch in encoder.batches for text in batch) == [
        "first",
        "half gone",
        "unwatched",
    ]


def test_a_leader_whose_client_has_gone_hands_over(batcher: Batcher, encoder: HeldEncoder) -> None:
    with pytest.raises(QueryAbandoned, match="The client has gone"):
        batcher.encode("gone", is_abandoned=lambda: True)

    assert batcher.encode("next").tolist() == [4.0]
    assert encoder.batches == [["next"]]


def test_pictures_are_batched_and_abandoned_like_texts(encoder: HeldEncoder) -> None:
    pictures = Batcher(encoder, Modality.IMAGE)
    encoder.gate.clear()
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(pictures.encode, new_image("RGB", (9, 1)))
        assert encoder.entered.wait(30)
        others = [pool.submit(pictures.encode, new_image("RGB", (n, 1))) for n in (2, 3)]
        gone = pool.submit(pictures.encode, new_image("RGB", (4, 1)), is_abandoned=lambda: True)
        pause = threading.Event()
        while len(pictures._entries) < 4:
            pause.wait(0.001)
        with pytest.raises(EncoderError, match=r"^The query was not encoded within 0\.01 sec"):
            pictures.encode(new_image("RGB", (5, 1)), timeout=0.01)
        encoder.gate.set()
        answers = [future.result(30).tolist() for future in (first, *others)]
        with pytest.raises(QueryAbandoned):
            gone.result(30)

    assert answers == [[9.0], [2.0], [3.0]]
    assert sorted(map(len, encoder.batches)) == [1, 2]
