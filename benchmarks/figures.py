"""How figures are taken together and shown, and what they were measured on."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import psutil

PACKAGES: Final = (
    *("Django", "waitress", "openvino", "faiss-cpu"),
    *("numpy", "Pillow", "torch", "transformers"),
)
NOTABLE_FLAGS: Final = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "avx_vnni")


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0..1) of all do not exceed (nearest rank).

    Raises ValueError where there are none.
    """
    if not values:
        raise ValueError("No values: there is no percentile.")
    return sorted(values)[max(1, math.ceil(share * len(values))) - 1]


def number(value: float) -> str:
    """Three significant digits, thousands with a comma."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table: the first column left, the others right."""
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def describe() -> dict[str, Any]:
    """Processor, memory, load before the run, versions of what takes part; no name of a host."""
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
