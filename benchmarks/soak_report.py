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
from benchmarks.trend import Limit, Point, Trend, trend

SHORTEST: Final = 10.0
"""Minutes: in a shorter run processes still warm up all the time, and nothing is judged."""
FIGURES: Final = {
    "web memory": ("MB", Limit(0.10, 30)),
    "worker memory": ("MB", Limit(0.10, 40)),
    "web files": ("descriptors", Limit(0.1, 15)),
    "worker files": ("descriptors", Limit(0.1, 15)),
    "queue": ("jobs", Limit(0.5, 50)),
    "delta": ("vectors", Limit(0.0, 0.5 * EXACT_ROWS)),
    "log": ("lines", Limit(0.0, 1.5 * EXACT_ROWS)),
    "disk": ("MB", Limit(0.10, 100)),
    "search p99": ("ms", Limit(0.5, 20)),
}
"""Unit, and growth that is no trend. Delta and log fall back with each snapshot: one tooth of the
saw may rise unjudged."""
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
        default_factory=lambda: {name: [] for name in FIGURES}
    )
    restarts: list[tuple[float, str]] = dataclasses.field(default_factory=list)
    """Minute, and what was ended."""
    searches: int = 0
    operations: int = 0
    """Accepted ones, after the load."""
    excused: int = 0
    """Requests that failed while the web server was being started again."""

    def growing(self) -> list[str]:
        """Figures that have a trend."""
        if self.minutes < SHORTEST:
            return []
        return [name for name, found in self.trends().items() if found.grows]

    def trends(self) -> dict[str, Trend]:
        """What each figure did."""
        return {
            name: trend(points, FIGURES[name][1]) for name, points in self.points.items() if points
        }


def write_soak_report(soak: Readings, checks: Sequence[Check], output: Path) -> Path:
    """Write SOAK_REPORT.md and its plots; returns the report's path."""
    plots = output / "performance"
    plots.mkdir(parents=True, exist_ok=True)
    marks = [minute for minute, _ in soak.restarts]
    for name, figures in PLOTS.items():
        series = {each: [point[:2] for point in soak.points[each]] for each in figures}
        chart = lines(", ".join(figures).capitalize(), FIGURES[figures[0]][0], series, marks)
        (plots / f"soak-{name}.svg").write_text(chart, encoding="utf-8")
    growing, steady = soak.growing(), "steady" if soak.minutes >= SHORTEST else "too short"
    verdicts = {True: "**grows**", False: steady}
    trends = [
        f"| {name}, {FIGURES[name][0]} | {number(each.middle)} | {each.growth:+,.1f} |"
        f" {each.allowed:,.1f} | {verdicts[name in growing]} |"
        for name, each in soak.trends().items()
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
no file: pages of snapshots and models, which are mapped, are the system's to keep or drop.

| figure | median | growth | allowed | |
| --- | ---: | ---: | ---: | --- |
{chr(10).join(trends)}

{images}

## Invariants at the end

| | holds |
| --- | --- |
{chr(10).join(found)}
"""
    path = output / "SOAK_REPORT.md"
    path.write_text(text, encoding="utf-8")
    return path
