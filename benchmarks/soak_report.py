"""What a soak read, judged by its trend and plotted: SOAK_REPORT.md, in soak_report.md's words."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from string import Template
from typing import Final

from benchmarks.figures import describe, number
from benchmarks.invariants import Check
from benchmarks.plots import lines
from benchmarks.servers import EXACT_ROWS

TEXT: Final = Path(__file__).with_suffix(".md")
"""What stands around the tables."""
SHORTEST: Final = 10.0
"""Minutes: in a shorter run processes still warm up all the time, and nothing is judged."""
SETTLED: Final = 1 / 3
"""Share of a run that is left out at its start: caches fill, an index is built."""
Point = tuple[float, float, int]
"""Minute, value, and the generation of the process that it was read from."""


@dataclasses.dataclass(frozen=True)
class Limit:
    """Growth over the judged part of a run that is still no trend: the larger of the two."""

    share: float
    """Of the median."""
    floor: float
    """In the figure's own unit."""


FIGURES: Final = {
    "web memory": ("MB", Limit(0.10, 30)),
    "worker memory": ("MB", Limit(0.10, 40)),
    "web files": ("descriptors", Limit(0.1, 15)),
    "worker files": ("descriptors", Limit(0.1, 15)),
    "queue": ("jobs", Limit(0.5, 50)),
    "disk": ("MB", Limit(0.10, 100)),
    "search p99": ("ms", Limit(0.5, 20)),
}
"""Unit, and growth that is no trend."""
BOUNDS: Final[dict[str, tuple[str, Callable[[int], float]]]] = {
    "delta": ("vectors", lambda _items: 1.25 * EXACT_ROWS),
    "log": ("lines", lambda items: items + 2 * EXACT_ROWS),
}
"""Unit, and the most there may be, of so many items, once the load is in a snapshot.

Both are saws, whose teeth may take an hour: each of two modalities collects half of EXACT_ROWS
before its next snapshot, a line of the log for each and for what is deleted meanwhile, and the log
reaches back to the snapshot before the last, which may be one of the load's beginning. Without
maintenance an hour's use passes both.
"""
PLOTS: Final = {
    "memory": ("web memory", "worker memory"),
    "p99": ("search p99",),
    "queue": ("queue",),
    "delta": ("delta",),
    "log": ("log",),
    "disk": ("disk",),
    "files": ("web files", "worker files"),
}


@dataclasses.dataclass(frozen=True)
class Trend:
    """What a series did over its judged part."""

    middle: float
    growth: float
    allowed: float

    @property
    def grows(self) -> bool:
        return self.growth > self.allowed


def settled(points: Sequence[Point]) -> list[Point]:
    """The judged part of a series. Raises ValueError where there are no points."""
    end = max(minute for minute, _, _ in points)
    return [point for point in points if point[0] >= end * SETTLED]


def trend(points: Sequence[Point], limit: Limit) -> Trend:
    """Theil–Sen: the median of the slopes of all pairs, times the judged time.

    Pairs of two generations do not count: a process that was started anew is no growth and no
    shrinking. Raises ValueError where there are no points.
    """
    judged = settled(points)
    slopes = [
        (later - earlier) / (end_minute - minute)
        for number, (minute, earlier, generation) in enumerate(judged)
        for end_minute, later, other in judged[number + 1 :]
        if other == generation and end_minute > minute
    ]
    middle = median(value for _, value, _ in judged)
    span = judged[-1][0] - judged[0][0]
    growth = median(slopes) * span if slopes else 0.0
    return Trend(middle, growth, max(limit.share * abs(middle), limit.floor))


@dataclasses.dataclass
class Readings:
    """What was seen of a run."""

    minutes: float
    items: int
    points: dict[str, list[Point]] = dataclasses.field(
        default_factory=lambda: {name: [] for name in (*FIGURES, *BOUNDS)}
    )
    restarts: list[tuple[float, str]] = dataclasses.field(default_factory=list)
    """Minute, and what was ended."""
    searches: int = 0
    operations: int = 0
    """Accepted ones, after the load."""
    excused: int = 0
    """Requests that failed while the web server was being started again."""


def judge(soak: Readings) -> dict[str, tuple[list[str], bool]]:
    """What each figure did, in words, and whether it grows or passed its bound."""
    found, points = {}, soak.points
    for name, (_, limit) in FIGURES.items():
        if points[name]:
            seen = trend(points[name], limit)
            cells = [number(seen.middle), f"{seen.growth:+,.1f}", f"{seen.allowed:,.1f}"]
            found[name] = cells, seen.grows
    for name, (_, bound_of) in BOUNDS.items():
        if points[name]:
            bound = bound_of(soak.items)
            most = max(value for _, value, _ in settled(points[name]))
            found[name] = [f"{most:,.0f}", f"{bound:,.0f}"], most > bound
    return found


def write_soak_report(soak: Readings, checks: Sequence[Check], output: Path) -> list[str]:
    """Write SOAK_REPORT.md and its plots; returns the figures that grow, or passed their bound."""
    plots = output / "performance"
    plots.mkdir(parents=True, exist_ok=True)
    units = {name: unit for name, (unit, _) in (*FIGURES.items(), *BOUNDS.items())}
    marks = [minute for minute, _ in soak.restarts]
    for name, figures in PLOTS.items():
        series = {each: [point[:2] for point in soak.points[each]] for each in figures}
        chart = lines(", ".join(figures).capitalize(), units[figures[0]], series, marks)
        (plots / f"soak-{name}.svg").write_text(chart, encoding="utf-8")
    judged, long_enough = judge(soak), soak.minutes >= SHORTEST
    growing = [name for name, (_, grows) in judged.items() if grows and long_enough]
    steady = "steady" if long_enough else "too short"
    rows = {
        name: f"| {name}, {units[name]} | {' | '.join(cells)}"
        f" | {'**grows**' if name in growing else steady} |"
        for name, (cells, _) in judged.items()
    }
    found = [f"| {each.what} | {f'**{each.wrong}**' if each.wrong else 'yes'} |" for each in checks]
    ends = sorted(Counter(what for _, what in soak.restarts).items())
    machine = describe()
    text = Template(TEXT.read_text(encoding="utf-8")).substitute(
        cores=machine["cores"],
        processor=machine["processor"],
        items=f"{soak.items:,}",
        minutes=f"{soak.minutes:g}",
        searches=f"{soak.searches:,}",
        operations=f"{soak.operations:,}",
        ended=", ".join(f"{what} ({count} ×)" for what, count in ends) or "nothing",
        excused=soak.excused,
        trends="\n".join(rows[name] for name in FIGURES if name in rows),
        bounds="\n".join(rows[name] for name in BOUNDS if name in rows),
        plots="\n".join(f"![{name}](performance/soak-{name}.svg)" for name in PLOTS),
        found="\n".join(found),
    )
    (output / "SOAK_REPORT.md").write_text(text, encoding="utf-8")
    return growing
