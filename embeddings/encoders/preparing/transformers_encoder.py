"""The reference encoder: a family's own networks in torch, full precision, CPU or CUDA."""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from embeddings.encoders.base import (
    Encoder,
    EncoderDescription,
    EncoderError,
    Modality,
    Purpose,
    Vectors,
    unit,
)
from embeddings.encoders.finding.model_files import resolve_model
from embeddings.encoders.finding.usable import check_model
from embeddings.encoders.serving.tokenization import Tokenizer

if TYPE_CHECKING:
    from django.core.checks import CheckMessage

BATCH: Final = 32
"""Rows the network sees at once: more is no faster and takes memory."""


class TransformersEncoder(Encoder):
    """Any model of a known family, by directory or hub name."""

    def __init__(self, model: str, device: str = "auto") -> None:
        self._name = model
        self._device_name = device
        self._lock = threading.Lock()
        self._loaded: _Loaded | None = None

    def describe(self) -> EncoderDescription:
        return resolve_model(self._name).describe("fp32")

    def encode(
        self, modality: Modality, inputs: Sequence[Any], *, purpose: Purpose = Purpose.DOCUMENT
    ) -> Vectors:
        loaded = self._load()
        tower, feeds = loaded.towers[modality], loaded.feeds[modality]
        out = np.empty((len(inputs), loaded.dimension), np.float32)
        for start in range(0, len(inputs), BATCH):
            batch = feeds(inputs[start : start + BATCH], purpose)
            tensors = {name: torch.from_numpy(array) for name, array in batch.items()}
            with torch.inference_mode():
                vectors = tower(**{name: each.to(self._device) for name, each in tensors.items()})
            out[start : start + BATCH] = vectors.cpu().numpy()
        return unit(out)

    def check(self) -> list[CheckMessage]:
        return check_model(self._name, self._device_name)

    @functools.cached_property
    def _device(self) -> str:
        if self._device_name == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        if self._device_name == "cuda" and not torch.cuda.is_available():
            raise EncoderError(
                "MMSEARCH_DEVICE=cuda, but torch sees no CUDA device: install a CUDA build of "
                "torch, or set MMSEARCH_DEVICE=cpu."
            )
        return self._device_name

    def _load(self) -> _Loaded:
        with self._lock:
            if self._loaded is None:
                checkpoint = resolve_model(self._name).checkpoint
                towers = checkpoint.towers()
                tokenizer = Tokenizer(checkpoint.serialised_tokenizer(), checkpoint.tokenization)
                self._loaded = _Loaded(
                    checkpoint.dimension,
                    {modality: tower.to(self._device) for modality, tower in towers.items()},
                    {
                        Modality.TEXT: lambda texts, purpose: tokenizer.feeds(
                            tokenizer.rows(texts, purpose)
                        ),
                        Modality.IMAGE: lambda images, _: checkpoint.preprocessing.feeds(images),
                    },
                )
            return self._loaded


@dataclasses.dataclass(frozen=True)
class _Loaded:
    dimension: int
    towers: dict[Modality, Any]
    feeds: dict[Modality, Callable[[Sequence[Any], Purpose], dict[str, NDArray[Any]]]]
