"""What the figures were measured on; no names of hosts or folders."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import psutil

PACKAGES: Final = (
    "Django",
    "waitress",
    "openvino",
    "faiss-cpu",
    "numpy",
    "Pillow",
    "torch",
    "transformers",
)
NOTABLE_FLAGS: Final = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "avx_vnni")


def describe() -> dict[str, Any]:
    """Processor, memory, load before the run, versions of what takes part."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.exists() else ""
    fields = dict(line.split("\t: ", 1) for line in text.splitlines() if "\t: " in line)
    fields = {name.strip(): value for name, value in fields.items()}
    return {
        "processor": fields.get("model name", platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "flags": [flag for flag in NOTABLE_FLAGS if flag in fields.get("flags", "").split()],
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "load_before": round(os.getloadavg()[0], 2),
        "versions": {"Python": platform.python_version()}
        | {package: metadata.version(package) for package in PACKAGES},
    }
