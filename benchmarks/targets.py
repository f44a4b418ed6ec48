"""The figures that were promised, each beside what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from benchmarks.figures import number
from benchmarks.material import SIZES

SYSTEMS: Final = ("ours", "baseline")
AGAINST: Final = {
    ("large", "batch"): 10.0,
    ("large", "stream"): 8.0,
    ("small", "batch"): 7.0,
    ("small", "stream"): 7.0,
}
"""Pictures a second in multiples of the baseline's."""
SHARES: Final = {"batch": 0.9, "stream": 0.8}
"""Of the bare encoder's rate over 512-pixel pictures."""
Results = dict[str, Any]
Target = tuple[str, str, str, bool | None]
"""Figure, target, what was measured, whether it was reached; None where it was not measured."""


def targets(results: Results) -> Iterator[Target]:
    """The figures that were promised, each beside what was measured."""
    ours, baseline = ({row["clients"]: row for row in results["search"][name]} for name in SYSTEMS)
    alone = {row["modality"]: row["ms"] for row in results["encoders"]["ours"] if row["batch"] == 1}
    p50, most = ours[1]["p50"], max(ours)
    yield _least(
        "text query over HTTP, P50, against the baseline", 10, baseline[1]["p50"] / p50, "lower"
    )
    bare = alone["text"] + results["index"][1]["p50_ms"]
    yield _most("the same against the bare text encoder and index", 1.5, p50 / bare)
    rate = ours[most]["rate"] / baseline[most]["rate"]
    yield _least(f"queries a second at {most} clients, against the baseline", 20, rate)
    pictures = results["pictures"]["p50"] / alone["image"]
    yield _most("search by picture, P50, against the bare encoder", 1.5, pictures)
    for row in results["ingestion"]:
        size, way, rate = row["size"], row["way"], row["ours"]["rate"]
        name = f"{SIZES[size]}s, {way}"
        yield _least(
            f"{name}, against the baseline", AGAINST[size, way], rate / row["baseline"]["rate"]
        )
        if size == "small":
            bar, share = SHARES[way], rate / row["bare"]
            yield f"{name}, of the bare encoder", f"≥ {bar:.0%}", f"{share:.0%}", share >= bar
    for what, rows in (("ingesting", "beside"), ("another space is built", "building")):
        beside = results[rows]["busy"]["p99"] / results[rows]["idle"]["p99"]
        yield _most(f"search P99 while {what}, against idle", 1.5, beside)
    every, *within = (row["p50"] for row in results["filtered"].values())
    yield _most(
        "text query within a filter, with facets, P50, against without", 2, max(within) / every
    )
    yield _seconds("committed vector → found over HTTP, worst", 1, results["fresh"]["worst"])
    starter = results["starter"]
    indexed = starter["indexed"] and starter["indexed"] - starter["read"]
    yield _seconds("starter: end of `ingest_dataset` → index not exact", 180, indexed)
    yield _seconds("starter: ready after a new start", 3, starter["again"])
    shown, reached = "not measured", None
    if backlog := results.get("backlog"):
        kept = backlog["long"] / backlog["short"]
        shown, reached = f"{kept:.0%}", kept >= 0.9
    yield "rate at a backlog of four fifths against a fiftieth", "≥ 90 %", shown, reached
    shown, reached = "not measured", None
    if memory := results.get("memory"):
        growth = memory["many_mb"] / memory["few_mb"] - 1
        shown = f"{memory['many_mb']:,.0f} MB, {growth:+.1%}"
        reached = memory["many_mb"] <= 900 and growth <= 0.05
    yield "memory of the whole tree after many pictures", "≤ 900 MB, ≤ 5 % more", shown, reached


def _least(figure: str, bar: float, ratio: float, word: str = "more") -> Target:
    return figure, f"{bar:g}× {word}", f"{ratio:.1f}×", ratio >= bar


def _most(figure: str, bar: float, ratio: float) -> Target:
    return figure, f"≤ {bar:g}×", f"{ratio:.2f}×", ratio <= bar


def _seconds(figure: str, bar: float, seconds: float | None) -> Target:
    if seconds is None:
        return figure, f"≤ {bar:g} s", "not measured", None
    return figure, f"≤ {bar:g} s", f"{number(seconds)} s", seconds <= bar
