"""OpenVINO as this project uses it: on processors, and silent."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import Any, Final

from embeddings.encoders.serving.lookups import look_up_first

PROPERTIES: Final[dict[str, dict[str, str]]] = {
    "int8": {"INFERENCE_PRECISION_HINT": "f32"},
    "int8-dynamic": {
        "INFERENCE_PRECISION_HINT": "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": "64",
    },
    "bf16": {"INFERENCE_PRECISION_HINT": "bf16"},
    "fp32": {"INFERENCE_PRECISION_HINT": "f32"},
}
"""How a network of each precision is compiled.

`int8` has fixed ranges of activations, `int8-dynamic` finds them for every 64 values as it runs.
"""
_MADV_PAGEOUT: Final = 21  # mman.h
"""Unlike MADV_DONTNEED it loses nothing, should another thread have unmapped the file and got its
addresses for its own memory meanwhile. Older than Linux 5.4 does not know it: nothing happens."""
REMEMBERED_KERNELS: Final = "256"
"""Kernels that a network keeps, some thirty for each shape of inputs it met of late."""


def load_openvino() -> Any:
    """The library, without its telemetry.

    On import, on conversion and from NNCF, openvino_telemetry reports to a server unless it was
    opted out by a file in the home folder. Where it cannot be imported, nothing is reported. Its
    kernels would be kept a second time by oneDNN, of all shapes there ever were.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "0")
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # an import then fails
    import openvino

    return openvino


def compile_network(path: Path, precision: str, *, threads: int, streams: int = 1) -> Any:
    """The network, compiled for `streams` runs side by side over `threads` threads in all."""
    properties = {
        **PROPERTIES[precision],
        "INFERENCE_NUM_THREADS": str(threads),
        "NUM_STREAMS": str(streams),
        # Threads of several processes would be pinned to the same processors.
        "ENABLE_CPU_PINNING": "NO",
        "CPU_RUNTIME_CACHE_CAPACITY": REMEMBERED_KERNELS,
    }
    core = load_openvino().Core()
    network = core.read_model(path)
    look_up_first(network)
    return core.compile_model(network, "CPU", properties)


def let_go_of_pages(file: Path) -> None:
    """Take a mapped file's pages out of this process; one that is read again comes back by itself.

    OpenVINO keeps the weights' file mapped, though it has packed them anew by the end of a run.
    """
    maps = Path("/proc/self/maps")
    if not maps.exists():  # Linux alone
        return
    madvise = ctypes.CDLL(None).madvise
    for line in maps.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        addresses, access, *_, mapped = f"{line} ".split(" ", 5)
        if access.startswith("r-") and mapped.strip() == str(file):
            start, end = (int(address, 16) for address in addresses.split("-"))
            madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_PAGEOUT)


def has_bfloat16() -> bool:
    """Whether the processor computes in bfloat16 itself."""
    return "BF16" in load_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def usable_processors() -> int:
    """Processors that this process may run on: a container may have fewer than the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
