"""The serving encoder: a prepared CLIP in ONNX Runtime, without torch in the process."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from embeddings.encoders.base import Encoder, EncoderDescription, EncoderError, Vectors
from embeddings.encoders.checks import check_model
from embeddings.encoders.model_files import resolve_model
from embeddings.encoders.onnx_towers import OnnxTowers
from embeddings.encoders.prepared import Prepared, check_precision, find_prepared

if TYPE_CHECKING:
    from django.core.checks import CheckMessage
    from PIL.Image import Image

PROJECT: Final = Path(__file__).resolve().parents[2]


class OnnxEncoder(Encoder):
    """Any CLIP directory or hub name, prepared once into `directory`.

    A model that is not prepared yet is prepared on first use, in a process of its own. `precision`
    `auto` takes int8 where it proved itself and fp32 elsewhere; `int8` insists.
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
        self._device = device
        self._threads = threads
        self._lock = threading.Lock()
        self._towers: OnnxTowers | None = None

    def describe(self) -> EncoderDescription:
        return self._load().prepared.description

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        return self._load().encode_texts(texts)

    def encode_images(self, images: Sequence[Image]) -> Vectors:
        return self._load().encode_images(images)

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
        files = resolve_model(self._name)
        prepared = find_prepared(self._directory, files, self._precision)
        if prepared is None:
            self._prepare()
            prepared = find_prepared(self._directory, files, self._precision)
        if prepared is None:
            raise EncoderError(
                f"The model {self._name!r} changed on disk while it was being prepared: try again."
            )
        return prepared

    def _prepare(self) -> None:
        """Prepare in another process: torch is slow to import and would stay in memory."""
        command = [sys.executable, "-m", "embeddings.encoders.prepare"]
        arguments = [self._name, str(self._directory.resolve()), self._precision]
        done = subprocess.run(
            command + arguments, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            raise EncoderError(
                done.stdout.strip()
                or f"Preparing the model {self._name!r} stopped with code {done.returncode}: see "
                f"the messages above, then run `manage.py prepare_model {self._name}`."
            )
