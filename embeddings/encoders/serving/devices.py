"""Which device `MMSEARCH_DEVICE` means on this machine."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Final

from embeddings.encoders.base import EncoderError

GPU_MEND: Final = "install a CUDA build of PyTorch (docs/configuration.md, *NVIDIA*)"


def uses_cuda(device: str) -> bool:
    """Whether `device` (`auto`, `cpu` or `cuda`) means CUDA here. Raises EncoderError.

    PyTorch is slow to import, so `auto` asks it only where there is a GPU.
    """
    if device == "cpu" or (device == "auto" and not _has_gpu()):
        return False
    available = _torch_sees_gpu()
    if device == "cuda" and not available:
        raise EncoderError(
            f"MMSEARCH_DEVICE=cuda, but PyTorch sees no CUDA device here: {GPU_MEND}, or set "
            "MMSEARCH_DEVICE=cpu."
        )
    return available


def leaves_gpu_idle(device: str) -> bool:
    """Whether `auto` means the processor on a machine with an NVIDIA GPU."""
    return device == "auto" and _has_gpu() and not uses_cuda(device)


def _has_gpu() -> bool:
    version = Path("/proc/driver/nvidia/version")
    return version.exists() or shutil.which("nvidia-smi") is not None


def _torch_sees_gpu() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()
