"""What a series of durations comes to."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` (0..1) of all values do not exceed (nearest rank).

    Always one of the values. Raises ValueError where there are none.
    """
    if not values:
        raise ValueError("No values: there is no percentile.")
    if not 0 <= share <= 1:
        raise ValueError(f"A share lies between 0 and 1, {share} does not.")
    rank = max(1, math.ceil(share * len(values)))
    return sorted(values)[rank - 1]


def median(values: Sequence[float]) -> float:
    """The middle value; of an even count the mean of the middle two."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("No values: there is no median.")
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


@dataclasses.dataclass(frozen=True)
class LoadResult:
    """Outcome of a load: every answered request's duration, in seconds."""

    durations: tuple[float, ...]
    elapsed: float
    """Seconds from the first request to the last answer."""
    errors: int
    """Answers other than 200."""

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return len(self.durations) / self.elapsed

    def summary(self) -> dict[str, float]:
        """Milliseconds at P50, P90 and P99, answers a second, and counts."""
        return {
            "p50": percentile(self.durations, 0.50) * 1000,
            "p90": percentile(self.durations, 0.90) * 1000,
            "p99": percentile(self.durations, 0.99) * 1000,
            "rate": self.rate,
            "requests": len(self.durations),
            "errors": self.errors,
        }
