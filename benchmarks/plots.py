"""Charts as SVG: the same bytes for the same figures, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from benchmarks.figures import number

WIDTH: Final = 720
HEIGHT: Final = 260
"""Of a chart of lines."""
EDGE: Final = 24
"""Pixels around the lines."""
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
    ".s{fill:#57606a}.a{fill:none;stroke:#8b949e}.m{stroke:#d29922;stroke-dasharray:2 4}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.s{fill:#9da7b1}}"
)
Group = tuple[str, Sequence[float]]
"""A label and one value a series."""


def bars(title: str, unit: str, series: Sequence[str], groups: Sequence[Group]) -> str:
    """A chart of horizontal bars, `groups` from top to bottom, from zero on a linear scale."""
    scale = (WIDTH - LABEL - VALUE) / (max(v for _, row in groups for v in row) or 1.0)
    parts = []
    y = TOP
    for label, row in groups:
        middle = y + BAR * len(row) / 2 + 4
        parts.append(
            f'<text x="{LABEL - 10}" y="{middle:.0f}" text-anchor="end">{escape(label)}</text>'
        )
        for value, colour in zip(row, COLOURS, strict=False):
            end = max(value * scale, 1)
            parts.append(
                f'<rect x="{LABEL}" y="{y + 1}" width="{end:.1f}" height="{BAR - 2}" rx="2"'
                f' fill="{colour}"/><text x="{LABEL + end + 6:.1f}" y="{y + 12}">'
                f"{number(value)} {escape(unit)}</text>"
            )
            y += BAR
        y += GAP
    return _chart(title, series, parts, y)


def lines(
    title: str,
    unit: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    marks: Sequence[float],
) -> str:
    """A chart of lines over minutes, from zero on a linear scale; `marks` are upright lines."""
    points = [point for row in series.values() for point in row] or [(0.0, 0.0)]
    longest, highest = (max(each) or 1.0 for each in zip(*points, strict=True))
    across, up = (WIDTH - 2 * EDGE) / longest, (HEIGHT - TOP - EDGE) / highest
    floor = HEIGHT - EDGE
    parts = [f'<path class="m" d="M{EDGE + x * across:.1f} {TOP}V{floor}"/>' for x in marks]
    for colour, row in zip(COLOURS, series.values(), strict=False):
        path = "L".join(f"{EDGE + x * across:.1f} {floor - y * up:.1f}" for x, y in row)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    parts += [
        f'<path class="a" d="M{EDGE} {TOP}V{floor}H{WIDTH - EDGE}"/>',
        f'<text class="s" x="{EDGE + 6}" y="{TOP + 4}">{number(highest)} {escape(unit)}</text>',
        f'<text class="s" x="{WIDTH - 110}" y="{HEIGHT - 6}">{number(longest)} minutes</text>',
    ]
    return _chart(title, tuple(series), parts, HEIGHT)


def _chart(title: str, series: Sequence[str], parts: Sequence[str], height: int) -> str:
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(title)}">',
        f'<style>{STYLE}</style><text class="t" x="12" y="24">{escape(title)}</text>',
    ]
    x = 12.0
    for name, colour in zip(series, COLOURS, strict=False):
        head.append(f'<rect x="{x:.0f}" y="38" width="12" height="12" rx="2" fill="{colour}"/>')
        head.append(f'<text class="s" x="{x + 18:.0f}" y="49">{escape(name)}</text>')
        x += 34 + 7.5 * len(name)
    return "\n".join([*head, *parts, "</svg>\n"])
