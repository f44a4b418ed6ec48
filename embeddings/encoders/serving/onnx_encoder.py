"""The serving encoder: a prepared CLIP in ONNX Runtime, without torch in the process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embeddings.encoders.base import Encoder, EncoderDescription, Modality, Purpose, Vectors
from embeddings.encoders.finding.model_files import STARTER
from embeddings.encoders.finding.prepared import Prepared, check_precision
from embeddings.encoders.finding.usable import check_model
from embeddings.encoders.preparing.prepare import ensure_prepared
from embeddings.encoders.serving.onnx_towers import OnnxTowers, uses_cuda

if TYPE_CHECKING:
    from django.core.checks import CheckMessage

logger = logging.getLogger(__name__)


class OnnxEncoder(Encoder):
    """Any CLIP directory or hub name, prepared once into `directory`.

    A model that is not prepared yet is prepared on first use, in a process of its own. Precision
    `auto` takes int8 where it proved itself and fp32 elsewhere; `int8` insists. `threads` counts
    those of one tower, by default all the processors this process may use.
    """

    def __init__(
        self,
        model: str,
        directory: Path | str,
        precision: str = "auto",
        device: str = "auto",
        threads: int | None = None,
    ) -> None:
        check_precision(precision)
        self._name = model
        self._directory = Path(directory)
        self._precision = precision
        # The starter comes prepared for processors and is quick there: a GPU only where asked for.
        self._device = "cpu" if (model, device) == (STARTER, "auto") else device
        self._threads = threads
        self._lock = threading.Lock()
        self._towers: OnnxTowers | None = None

    def describe(self) -> EncoderDescription:
        return self._load().prepared.description

    def encode(
        self, modality: Modality, inputs: Sequence[Any], *, purpose: Purpose = Purpose.DOCUMENT
    ) -> Vectors:
        return self._load().encode(modality, inputs, purpose=purpose)

    def pieces(self, words: Sequence[str]) -> list[int] | None:
        return self._load().pieces(words)

    def close(self) -> None:
        with self._lock:
            self._towers = None

    def check(self) -> list[CheckMessage]:
        return check_model(self._name, self._device)

    def _load(self) -> OnnxTowers:
        with self._lock:
            if self._towers is None:
                self._towers = OnnxTowers(self._find(), self._device, self._threads)
            return self._towers

    def _find(self) -> Prepared:
        precision = self._precision
        if precision == "auto" and uses_cuda(self._device):
            precision = "fp32"  # the int8 kernels are for processors
        return ensure_prepared(
            self._name, self._directory, precision=precision, progress=logger.info
        )
