"""Texts and pictures to what a prepared model's towers take."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, TypeAlias

from numpy.typing import NDArray

from embeddings.encoders.base import Modality, Purpose
from embeddings.encoders.serving.preprocessing import Preprocessing
from embeddings.encoders.serving.tokenization import Tokenizer

Feeds: TypeAlias = Mapping[str, NDArray[Any]]
"""A tower's inputs for one run, by name."""


@dataclasses.dataclass(frozen=True)
class Queue:
    """Inputs of one modality that wait to be run."""

    order: Sequence[int]
    """Their positions, so that neighbours fill one shape with little padding."""
    feeds: Callable[[Sequence[int]], Feeds]
    """What the tower takes for those at some positions."""

    def runs(self, most: int, *, beside: int = 1) -> list[Sequence[int]]:
        """The positions of each run, `most` at a time; of `beside` runs at once all have a share.

        Shares are cut into `most` and powers of four, the largest first: for every size that it
        meets a network prepares itself, which takes time and 10 MB or more.
        """
        count = len(self.order)
        sizes = [min(most, count - start) for start in range(0, count, most)]
        if beside > 1:
            shares = ((count + place) // beside for place in range(beside))
            sizes = sorted(
                (size for share in shares for size in _few_sizes(share, most)), reverse=True
            )
        ends = list(accumulate(sizes, initial=0))
        return [self.order[start:end] for start, end in pairwise(ends)]


def _few_sizes(count: int, most: int) -> Iterator[int]:
    """`most`, and powers of four, that `count` is made of."""
    while count:
        size = most if count >= most else 4 ** ((count.bit_length() - 1) // 2)
        yield size
        count -= size


class Inputs:
    """Tokenizer and preprocessing of one model. Thread-safe."""

    def __init__(self, tokenizer: Callable[[], Tokenizer], preprocessing: Preprocessing) -> None:
        """`tokenizer` is called for the first texts."""
        self._tokenizer = tokenizer
        self._preprocessing = preprocessing
        self._queues: dict[Modality, Callable[[Sequence[Any], Purpose], Queue]] = {
            Modality.TEXT: self._texts,
            Modality.IMAGE: self._images,
        }

    def queue(self, modality: Modality, inputs: Sequence[Any], purpose: Purpose) -> Queue:
        return self._queues[modality](inputs, purpose)

    def ready(self, modality: Modality, value: Any) -> Any:
        """The contract of `Encoder.ready`."""
        return self._preprocessing.ready(value) if modality is Modality.IMAGE else value

    def pieces(self, words: Sequence[str]) -> list[int]:
        """The contract of `Encoder.pieces`."""
        around, *rows = self._tokenizer().rows(["", *words])
        return [len(row) - len(around) for row in rows]

    def _texts(self, texts: Sequence[str], purpose: Purpose) -> Queue:
        tokenizer = self._tokenizer()
        rows = tokenizer.rows(texts, purpose)
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        return Queue(order, lambda chosen: tokenizer.feeds([rows[index] for index in chosen]))

    def _images(self, images: Sequence[Any], _purpose: Purpose) -> Queue:
        preprocessing = self._preprocessing
        return Queue(
            range(len(images)),
            lambda chosen: preprocessing.feeds([images[index] for index in chosen]),
        )
