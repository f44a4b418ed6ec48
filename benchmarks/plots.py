"""Bar charts as SVG: the same bytes for the same figures, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

WIDTH: Final = 720
LABEL: Final = 190
"""Pixels left of the bars."""
VALUE: Final = 90
"""Pixels right of the longest bar."""
BAR: Final = 16
GAP: Final = 12
TOP: Final = 64
COLOURS: Final = ("#2f81f7", "#8b949e", "#3fb950")
STYLE: Final = (
    "text{font:13px system-ui,sans-serif;fill:#24292f}.t{font-weight:600;font-size:15px}"
    ".s{fill:#57606a}@media(prefers-color-scheme:dark){text{fill:#e6edf3}.s{fill:#9da7b1}}"
)

Group = tuple[str, Sequence[float | None]]
"""A label and one value a series; None where it was not measured."""


def bars(title: str, unit: str, series: Sequence[str], groups: Sequence[Group]) -> str:
    """A chart of horizontal bars, `groups` from top to bottom, from zero on a linear scale."""
    values = [value for _, row in groups for value in row if value is not None]
    longest = max(values, default=0.0) or 1.0
    scale = (WIDTH - LABEL - VALUE) / longest
    parts = [f'<text class="t" x="12" y="24">{escape(title)}</text>']
    x = 12.0
    for name, colour in zip(series, COLOURS, strict=False):
        parts.append(f'<rect x="{x:.0f}" y="38" width="12" height="12" rx="2" fill="{colour}"/>')
        parts.append(f'<text class="s" x="{x + 18:.0f}" y="49">{escape(name)}</text>')
        x += 34 + 7.5 * len(name)
    y = TOP
    for label, row in groups:
        middle = y + BAR * len(row) / 2 + 4
        parts.append(
            f'<text x="{LABEL - 10}" y="{middle:.0f}" text-anchor="end">{escape(label)}</text>'
        )
        for value, colour in zip(row, COLOURS, strict=False):
            if value is not None:
                parts.append(_bar(y, value * scale, colour, f"{number(value)} {unit}"))
            y += BAR
        y += GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}"'
        f' height="{y}" role="img" aria-label="{escape(title)}"><style>{STYLE}</style>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _bar(y: int, length: float, colour: str, text: str) -> str:
    return (
        f'<rect x="{LABEL}" y="{y + 1}" width="{max(length, 1):.1f}" height="{BAR - 2}" rx="2"'
        f' fill="{colour}"/><text x="{LABEL + length + 6:.1f}" y="{y + 12}">{escape(text)}</text>'
    )


def number(value: float) -> str:
    """Three significant digits, thousands with a comma."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}"
