"""Tables of the report, and where its plots are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

PLOTS: Final = "performance"
"""Folder of plots and results beside the report."""
SYSTEMS: Final = ("ours", "baseline")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table: the first column left, the others right."""
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
