"""The serving encoder: a prepared model, on processors without torch in the process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from embeddings.encoders.base import (
    Encoder,
    EncoderDescription,
    EncoderError,
    Modality,
    Purpose,
    Vectors,
)
from embeddings.encoders.finding.model_files import local_files, resolve_model
from embeddings.encoders.finding.naming import STARTER
from embeddings.encoders.finding.prepared import Prepared, find_revision, keep
from embeddings.encoders.finding.usable import check_model
from embeddings.encoders.preparing.prepare import ensure_prepared
from embeddings.encoders.serving.devices import uses_cuda
from embeddings.encoders.serving.openvino_towers import OpenVinoTowers

if TYPE_CHECKING:
    from django.core.checks import CheckMessage

logger = logging.getLogger(__name__)


class Towers(Protocol):
    """The loaded networks of a prepared model."""

    prepared: Prepared

    def encode(
        self, modality: Modality, inputs: Sequence[Any], *, purpose: Purpose = Purpose.DOCUMENT
    ) -> Vectors: ...

    def ready(self, modality: Modality, value: Any) -> Any: ...

    def pieces(self, words: Sequence[str]) -> list[int]: ...


class PreparedEncoder(Encoder):
    """Any model of a known family, by directory or hub name, prepared once into `directory`.

    A model that is not prepared yet is prepared on first use, in a process of its own, in the
    fastest precision that proves itself. With `revision`, what is prepared of that one is taken,
    also where the model's own files changed or are gone since. On processors OpenVINO runs it, with
    `threads` threads, by default one for each that this process may use; on CUDA PyTorch does.
    """

    def __init__(
        self,
        model: str,
        directory: Path | str,
        device: str = "auto",
        threads: int | None = None,
        revision: str = "",
    ) -> None:
        self._name = model
        self._revision = revision
        self._directory = Path(directory)
        # The starter comes prepared for processors and is quick there: a GPU only where asked for.
        self._device = "cpu" if (model, device) == (STARTER, "auto") else device
        self._threads = threads
        self._lock = threading.Lock()
        self._towers: Towers | None = None

    def describe(self) -> EncoderDescription:
        return self._load().prepared.description

    def encode(
        self, modality: Modality, inputs: Sequence[Any], *, purpose: Purpose = Purpose.DOCUMENT
    ) -> Vectors:
        return self._load().encode(modality, inputs, purpose=purpose)

    def ready(self, modality: Modality, value: Any) -> Any:
        return self._load().ready(modality, value)

    def pieces(self, words: Sequence[str]) -> list[int] | None:
        return self._load().pieces(words)

    def check(self) -> list[CheckMessage]:
        return check_model(self._name, self._device)

    def _load(self) -> Towers:
        with self._lock:
            if self._towers is None:
                device = "cuda" if uses_cuda(self._device) else "cpu"
                self._towers = self._on(device, self._find(device))
            return self._towers

    def _find(self, device: str) -> Prepared:
        """What is prepared, now if need be."""
        if not self._revision:
            return self._ensure(device)
        kept = find_revision(self._directory, self._revision, device)
        if kept is not None:
            return kept
        files = local_files(self._name)
        if files is not None and files.revision != self._revision:
            raise EncoderError(
                f"{self._name} holds another revision by now, {files.revision[:12]} in place of"
                f" {self._revision[:12]}, of which no prepared copy is kept: put its files back."
            )
        return keep(self._directory, self._ensure(device))

    def _ensure(self, device: str) -> Prepared:
        return ensure_prepared(self._name, self._directory, device=device, progress=logger.info)

    def _on(self, device: str, prepared: Prepared) -> Towers:
        if device == "cpu":
            return OpenVinoTowers(prepared, self._threads)
        from embeddings.encoders.serving.torch_towers import TorchTowers

        return TorchTowers(prepared, resolve_model(self._name).checkpoint, device)
