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
    "djangorestframework",
    "waitress",
    "onnxruntime",
    "faiss-cpu",
    "numpy",
    "Pillow",
    "torch",
    "transformers",
    "fastapi",
    "uvicorn",
)
NOTABLE_FLAGS: Final = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "avx_vnni")


def describe_machine() -> dict[str, Any]:
    """Processor, its instruction sets that matter here, memory, load before the run."""
    return {
        "processor": _cpu_field("model name") or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "flags": [flag for flag in NOTABLE_FLAGS if flag in _cpu_field("flags").split()],
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "load_before": round(os.getloadavg()[0], 2),
    }


def describe_versions() -> dict[str, str]:
    """Python and the packages that take part."""
    versions = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def _cpu_field(name: str) -> str:
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return ""
    for line in info.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
