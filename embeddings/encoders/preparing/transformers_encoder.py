"""The reference encoder: transformers' own CLIP in torch, full precision, CPU or CUDA."""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import CLIPModel
from transformers.utils import logging as transformers_logging

from embeddings.encoders.base import (
    Encoder,
    EncoderDescription,
    EncoderError,
    Modality,
    Purpose,
    Vectors,
    unit,
)
from embeddings.encoders.finding.model_files import ModelFiles, resolve_model
from embeddings.encoders.finding.usable import check_model
from embeddings.encoders.serving.tokenization import ClipTokenizer, pad, read_tokenizer

if TYPE_CHECKING:
    from django.core.checks import CheckMessage
    from PIL.Image import Image

BATCH: Final = 32
"""Rows the network sees at once: more is no faster and takes memory."""


class TransformersEncoder(Encoder):
    """Any CLIP directory or hub name through `CLIPModel`."""

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
        del purpose
        towers: dict[Modality, Callable[[Sequence[Any]], Vectors]] = {
            Modality.TEXT: self._encode_texts,
            Modality.IMAGE: self._encode_images,
        }
        return towers[modality](inputs)

    def _encode_texts(self, texts: Sequence[str]) -> Vectors:
        loaded = self._load()
        out = np.empty((len(texts), loaded.files.config.dimension), np.float32)
        for start in range(0, len(texts), BATCH):
            # Padding stands after the end token, where causal attention never looks.
            ids, _lengths = pad(loaded.tokenizer.tokens(texts[start : start + BATCH]))
            with torch.inference_mode():
                features = loaded.model.get_text_features(input_ids=self._tensor(ids))
            out[start : start + BATCH] = _numpy(features)
        return unit(out)

    def _encode_images(self, images: Sequence[Image]) -> Vectors:
        loaded = self._load()
        preprocessing = loaded.files.preprocessing
        out = np.empty((len(images), loaded.files.config.dimension), np.float32)
        for start in range(0, len(images), BATCH):
            pixels = preprocessing.normalise(preprocessing.pixels(images[start : start + BATCH]))
            with torch.inference_mode():
                features = loaded.model.get_image_features(pixel_values=self._tensor(pixels))
            out[start : start + BATCH] = _numpy(features)
        return unit(out)

    def state_dict(self) -> dict[str, NDArray[np.float32]]:
        """Every weight, by transformers' names."""
        state = self._load().model.state_dict()
        return {name: value.cpu().numpy() for name, value in state.items()}

    def close(self) -> None:
        with self._lock:
            self._loaded = None

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

    def _tensor(self, array: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device)

    def _load(self) -> _Loaded:
        with self._lock:
            if self._loaded is None:
                files = resolve_model(self._name)
                tokenizer = ClipTokenizer(
                    read_tokenizer(files.directory),
                    context_length=files.config.context_length,
                    eos_token_id=files.config.eos_token_id,
                )
                self._loaded = _Loaded(files, tokenizer, self._load_network(files))
            return self._loaded

    def _load_network(self, files: ModelFiles) -> Any:
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            model = CLIPModel.from_pretrained(
                files.directory, dtype=torch.float32, local_files_only=True
            )
        except Exception as exc:
            raise EncoderError(
                f"The weights in {files.directory} cannot be loaded ({exc}): copy the model again."
            ) from exc
        network: Any = model
        return network.to(self._device).eval()


@dataclasses.dataclass(frozen=True)
class _Loaded:
    files: ModelFiles
    tokenizer: ClipTokenizer
    model: Any


def _numpy(features: Any) -> NDArray[np.float32]:
    """Features as an array: transformers 5 returns an output object, earlier ones the tensor."""
    array: NDArray[np.float32] = getattr(features, "pooler_output", features).cpu().numpy()
    return array
