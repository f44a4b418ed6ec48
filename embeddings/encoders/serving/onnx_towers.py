"""The two towers of a prepared model, each loaded on its own first use."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from embeddings.encoders.base import EncoderError, Modality, Purpose, Vectors, unit
from embeddings.encoders.finding.prepared import IMAGE_TOWER, TEXT_TOWER, TOKENIZER, Prepared
from embeddings.encoders.serving.tokenization import ClipTokenizer, pad

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGE_BATCH: Final = 4
"""Pictures one run sees at once: more is no faster and takes memory."""
TEXT_BATCH: Final = 32
"""Texts one run sees at most."""
GPU_MEND: Final = (
    "install onnxruntime-gpu in place of onnxruntime (docs/configuration.md, *NVIDIA*)"
)


class OnnxTowers:
    """Sessions and tokenizer of one prepared model. Thread-safe; runs without the GIL.

    A batch is cut into runs of one thread each, `threads` of them at a time, by default one for
    every processor this process may use: whole runs side by side wait for one another once, where
    the threads of one run would wait after every operator.
    """

    def __init__(self, prepared: Prepared, device: str, threads: int | None = None) -> None:
        self.prepared = prepared
        self._device = device
        self._threads = threads or usable_processors()
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="encode")
        self._lock = threading.Lock()
        self._tokenizer: ClipTokenizer | None = None
        self._text: Any = None
        self._image: Any = None

    def encode(
        self, modality: Modality, inputs: Sequence[Any], *, purpose: Purpose = Purpose.DOCUMENT
    ) -> Vectors:
        """The contract of `Encoder.encode`; a CLIP reads queries as it reads documents."""
        del purpose
        towers: dict[Modality, Callable[[Sequence[Any]], Vectors]] = {
            Modality.TEXT: self._encode_texts,
            Modality.IMAGE: self._encode_images,
        }
        return towers[modality](inputs)

    def pieces(self, words: Sequence[str]) -> list[int]:
        """The contract of `Encoder.pieces`."""
        _, tokenizer = self._text_tower()
        around, *rows = tokenizer.tokens(["", *words])
        return [len(row) - len(around) for row in rows]

    def _encode_texts(self, texts: Sequence[str]) -> Vectors:
        session, tokenizer = self._text_tower()
        rows = tokenizer.tokens(texts)
        # Neighbours in length share a batch, so that one long text does not pad the others.
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        out = np.empty((len(texts), self.prepared.description.dimension), np.float32)

        def run(chosen: Sequence[int]) -> None:
            ids, lengths = pad([rows[index] for index in chosen])
            mask = (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int32)
            feeds = {"input_ids": ids, "mask": mask, "end": lengths - 1}
            out[chosen] = session.run(None, feeds)[0]

        self._side_by_side(run, order, TEXT_BATCH)
        return unit(out)

    def _encode_images(self, images: Sequence[Image]) -> Vectors:
        session = self._image_tower()
        out = np.empty((len(images), self.prepared.description.dimension), np.float32)

        def run(chosen: Sequence[int]) -> None:
            feeds = self.prepared.preprocessing.feeds([images[index] for index in chosen])
            out[chosen] = session.run(None, feeds)[0]

        self._side_by_side(run, range(len(images)), IMAGE_BATCH)
        return unit(out)

    def _side_by_side(
        self, run: Callable[[Sequence[int]], None], rows: Sequence[int], most: int
    ) -> None:
        """Call `run` for parts of `rows` that keep all threads busy; a lone part in this thread."""
        size = min(most, -(-len(rows) // self._threads)) or 1
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        if len(parts) == 1:
            run(parts[0])
        else:
            list(self._pool.map(run, parts))

    def _text_tower(self) -> tuple[Any, ClipTokenizer]:
        with self._lock:
            if self._text is None or self._tokenizer is None:
                self._tokenizer = ClipTokenizer(
                    (self.prepared.directory / TOKENIZER).read_text(encoding="utf-8"),
                    context_length=self.prepared.context_length,
                    eos_token_id=self.prepared.eos_token_id,
                )
                self._text = self._session(self.prepared.directory / TEXT_TOWER)
            return self._text, self._tokenizer

    def _image_tower(self) -> Any:
        with self._lock:
            if self._image is None:
                self._image = self._session(self.prepared.directory / IMAGE_TOWER)
            return self._image

    def _session(self, path: Path) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        # A memory plan for every input shape would be kept for ever.
        options.enable_mem_pattern = False
        providers = ["CPUExecutionProvider"]
        if uses_cuda(self._device):
            onnxruntime.preload_dlls()  # packages, where the loader does not look
            providers.insert(0, "CUDAExecutionProvider")
        try:
            session = onnxruntime.InferenceSession(path, options, providers=providers)
        except Exception as exc:
            raise EncoderError(
                f"{path} cannot be loaded ({exc}): delete {path.parent} and start again, the "
                f"model is then prepared anew."
            ) from exc
        if self._device == "cuda" and providers[0] not in session.get_providers():
            raise EncoderError(
                "MMSEARCH_DEVICE=cuda, but ONNX Runtime could not start CUDA; the lines above name "
                f"the library that it lacks: {GPU_MEND}, or set MMSEARCH_DEVICE=cpu."
            )
        return session


def uses_cuda(device: str) -> bool:
    """Whether `device` (`auto`, `cpu` or `cuda`) means CUDA here. Raises EncoderError."""
    if device == "cpu":
        return False
    import onnxruntime

    available = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if device == "cuda" and not available:
        raise EncoderError(
            f"MMSEARCH_DEVICE=cuda, but ONNX Runtime has no CUDA here: {GPU_MEND}, or set "
            "MMSEARCH_DEVICE=cpu."
        )
    return available


def leaves_gpu_idle(device: str) -> bool:
    """Whether `auto` means the processor on a machine with an NVIDIA GPU."""
    has_gpu = Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi")
    return device == "auto" and bool(has_gpu) and not uses_cuda(device)


def usable_processors() -> int:
    """Processors that this process may run on: a container may have fewer than the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
