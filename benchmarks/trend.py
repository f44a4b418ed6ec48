"""Whether a figure that is read again and again grows over time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from statistics import median
from typing import Final

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
