"""The towers of a model in torch: on CUDA, and as the reference that others are compared with."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch

from embeddings.encoders.base import EncoderError, Modality, Purpose, Vectors, unit
from embeddings.encoders.families.base import Checkpoint
from embeddings.encoders.finding.prepared import Prepared
from embeddings.encoders.serving.inputs import Feeds, Inputs
from embeddings.encoders.serving.tokenization import Tokenizer

DTYPES: Final = {"fp32": torch.float32, "fp16": torch.float16}


class TorchNetwork:
    """One network in one precision on one device. Thread-safe."""

    def __init__(self, network: Any, precision: str, device: str) -> None:
        self._network = network.to(device=device, dtype=DTYPES[precision])
        self._device = device

    def __call__(self, feeds: Feeds) -> Vectors:
        """Vectors float32 (n, d), not normalised, for one run's inputs."""
        tensors = {name: torch.from_numpy(array) for name, array in feeds.items()}
        with torch.inference_mode():
            vectors = self._network(
                **{name: tensor.to(self._device) for name, tensor in tensors.items()}
            )
        found: Vectors = vectors.float().cpu().numpy()
        return found


class TorchTowers:
    """Towers and tokenizer of one model. Thread-safe."""

    def __init__(self, prepared: Prepared, checkpoint: Checkpoint, device: str) -> None:
        self.prepared = prepared
        self._checkpoint = checkpoint
        self._device = device
        self._lock = threading.Lock()
        self._networks: dict[Modality, TorchNetwork] = {}
        self._batches = {modality: tower.batch for modality, tower in prepared.towers.items()}
        self._inputs = Inputs(lambda: self._tokenizer, prepared.preprocessing)

    def encode(
        self, modality: Modality, inputs: Sequence[Any], *, purpose: Purpose = Purpose.DOCUMENT
    ) -> Vectors:
        """The contract of `Encoder.encode`."""
        network = self._load()[modality]
        out = np.empty((len(inputs), self.prepared.description.dimension), np.float32)
        if inputs:
            waiting = self._inputs.queue(modality, inputs, purpose)
            position = 0
            while chosen := waiting.order[position : position + self._batches[modality]]:
                try:
                    out[chosen] = network(waiting.feeds(chosen))
                except torch.OutOfMemoryError as exc:
                    self._shrink(modality, len(chosen), exc)
                else:
                    position += len(chosen)
        return unit(out)

    def _shrink(self, modality: Modality, count: int, error: Exception) -> None:
        """Halve the batches: somebody else took memory since they were measured."""
        torch.cuda.empty_cache()
        if count == 1:
            raise EncoderError(
                f"The GPU has too little memory left for one input: {error} End what else uses it,"
                " or set MMSEARCH_DEVICE=cpu."
            ) from error
        self._batches[modality] = min(self._batches[modality], max(1, count // 2))

    def ready(self, modality: Modality, value: Any) -> Any:
        """The contract of `Encoder.ready`."""
        return self._inputs.ready(modality, value)

    def pieces(self, words: Sequence[str]) -> list[int]:
        """The contract of `Encoder.pieces`."""
        return self._inputs.pieces(words)

    @functools.cached_property
    def _tokenizer(self) -> Tokenizer:
        checkpoint = self._checkpoint
        return Tokenizer(checkpoint.serialised_tokenizer(), checkpoint.tokenization)

    def _load(self) -> dict[Modality, TorchNetwork]:
        with self._lock:
            if not self._networks:
                self._networks = {
                    modality: TorchNetwork(
                        network, self.prepared.towers[modality].precision, self._device
                    )
                    for modality, network in self._checkpoint.towers().items()
                }
            return self._networks
