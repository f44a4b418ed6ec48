"""What a soak read, judged and plotted: SOAK_REPORT.md."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.invariants import Check
from benchmarks.machine import describe
from benchmarks.plots import lines, number
from benchmarks.servers import EXACT_ROWS
from benchmarks.trend import Limit, Point, Trend, settled, trend

SHORTEST: Final = 10.0
"""Minutes: in a shorter run processes still warm up all the time, and nothing is judged."""
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
BOUNDS: Final = {
    "delta": ("vectors", 1.25 * EXACT_ROWS),
    "log": ("lines", 4 * EXACT_ROWS),
}
"""Unit, and the most there may be once the load is in a snapshot. Both are saws, whose teeth may
take an hour: each of two modalities collects half of EXACT_ROWS before its next snapshot, and the
log reaches back to the snapshot before the last. Without maintenance both pass their bounds with
the load alone."""
PLOTS: Final = {
    "memory": ("web memory", "worker memory"),
    "p99": ("search p99",),
    "queue": ("queue",),
    "delta": ("delta",),
    "log": ("log",),
    "disk": ("disk",),
    "files": ("web files", "worker files"),
}


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

    def growing(self) -> list[str]:
        """Figures that have a trend, or passed their bound."""
        if self.minutes < SHORTEST:
            return []
        trends = [name for name, found in self.trends().items() if found.grows]
        return trends + [name for name, most in self.highest().items() if most > BOUNDS[name][1]]

    def trends(self) -> dict[str, Trend]:
        """What each figure did."""
        return {
            name: trend(self.points[name], limit)
            for name, (_, limit) in FIGURES.items()
            if self.points[name]
        }

    def highest(self) -> dict[str, float]:
        """The most that each bounded figure came to."""
        judged = {name: settled(self.points[name]) for name in BOUNDS if self.points[name]}
        return {name: max(value for _, value, _ in points) for name, points in judged.items()}


def write_soak_report(soak: Readings, checks: Sequence[Check], output: Path) -> Path:
    """Write SOAK_REPORT.md and its plots; returns the report's path."""
    plots = output / "performance"
    plots.mkdir(parents=True, exist_ok=True)
    marks = [minute for minute, _ in soak.restarts]
    for name, figures in PLOTS.items():
        series = {each: [point[:2] for point in soak.points[each]] for each in figures}
        chart = lines(
            ", ".join(figures).capitalize(), (FIGURES | BOUNDS)[figures[0]][0], series, marks
        )
        (plots / f"soak-{name}.svg").write_text(chart, encoding="utf-8")
    growing, steady = soak.growing(), "steady" if soak.minutes >= SHORTEST else "too short"
    verdicts = {True: "**grows**", False: steady}
    trends = [
        f"| {name}, {FIGURES[name][0]} | {number(each.middle)} | {each.growth:+,.1f} |"
        f" {each.allowed:,.1f} | {verdicts[name in growing]} |"
        for name, each in soak.trends().items()
    ]
    bounds = [
        f"| {name}, {BOUNDS[name][0]} | {most:,.0f} | {BOUNDS[name][1]:,.0f} |"
        f" {verdicts[name in growing]} |"
        for name, most in soak.highest().items()
    ]
    found = [f"| {each.what} | {f'**{each.wrong}**' if each.wrong else 'yes'} |" for each in checks]
    ends = sorted({what for _, what in soak.restarts})
    counts = ", ".join(f"{what} ({sum(w == what for _, w in soak.restarts)} ×)" for what in ends)
    machine = describe()
    images = "\n".join(f"![{name}](performance/soak-{name}.svg)" for name in PLOTS)
    text = f"""\
# Soak report

Written by `make soak`: the application as `make run` starts it, {soak.items:,} items, in use for
{soak.minutes:g} minutes on {machine["cores"]} cores ({machine["processor"]}).
{soak.searches:,} searches (by words, filtered, by picture, similar, on the page) and
{soak.operations:,} items added, edited and deleted over HTTP, a little
nonsense between them. Ended on the way: {counts or "nothing"};
{soak.excused} requests met a web server that was just starting again.

## Trends

Growth is the median slope of all pairs of readings (Theil–Sen) over the last two thirds of the run;
pairs across a new start do not count. Dashed lines in the plots are the restarts. Memory is that of
no file (pages of snapshots and models, which are mapped, are the system's to keep or drop), and the
web server's without the vectors of the delta, which has a bound of its own.

| figure | median | growth | allowed | |
| --- | ---: | ---: | ---: | --- |
{chr(10).join(trends)}

| figure | highest | allowed | |
| --- | ---: | ---: | --- |
{chr(10).join(bounds)}

{images}

## Invariants at the end

| | holds |
| --- | --- |
{chr(10).join(found)}
"""
    path = output / "SOAK_REPORT.md"
    path.write_text(text, encoding="utf-8")
    return path
