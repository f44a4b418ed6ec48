"""The figures that were promised, each beside what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from benchmarks.plots import number
from benchmarks.stock import SIZES

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
    search = {name: {row["clients"]: row for row in results["search"][name]} for name in SYSTEMS}
    ours, baseline, most = search["ours"], search["baseline"], max(search["ours"])
    p50 = ours[1]["p50"]
    yield _at_least(
        "text query over HTTP, P50, against the baseline", 10, baseline[1]["p50"] / p50, "lower"
    )
    bare = _batch_of_one(results, "text") + results["index"][1]["p50_ms"]
    yield _at_most("the same against the bare text encoder and index", 1.5, p50 / bare)
    rate = ours[most]["rate"] / baseline[most]["rate"]
    yield _at_least(f"queries a second at {most} clients, against the baseline", 20, rate, "more")
    pictures = results["pictures"]["p50"] / _batch_of_one(results, "image")
    yield _at_most("search by picture, P50, against the bare encoder", 1.5, pictures)
    for row in results["ingestion"]:
        size, way, rate = row["size"], row["way"], row["ours"]["rate"]
        name = f"{SIZES[size]}s, {way}"
        ratio = rate / row["baseline"]["rate"]
        yield _at_least(f"{name}, against the baseline", AGAINST[size, way], ratio, "more")
        if size == "small":
            share = rate / row["bare"]
            yield (
                f"{name}, of the bare encoder",
                f"≥ {SHARES[way]:.0%}",
                f"{share:.0%}",
                (share >= SHARES[way]),
            )
    for what, rows in (("ingesting", "beside"), ("another space is built", "building")):
        beside = results[rows]["busy"]["p99"] / results[rows]["idle"]["p99"]
        yield _at_most(f"search P99 while {what}, against idle", 1.5, beside)
    every, *within = (row["p50"] for row in results["filtered"].values())
    slowest = max(within) / every
    yield _at_most("text query within a filter, with facets, P50, against without", 2, slowest)
    yield _seconds("committed vector → found over HTTP, worst", 1, results["fresh"]["worst"])
    starter = results["starter"]
    indexed = starter["indexed"] and starter["indexed"] - starter["read"]
    yield _seconds("starter: end of `ingest_dataset` → index not exact", 180, indexed)
    yield _seconds("starter: ready after a new start", 3, starter["again"])
    backlog, memory = results.get("backlog"), results.get("memory")
    name, bar = "rate at a backlog of four fifths against a fiftieth", "≥ 90 %"
    if not backlog:
        yield name, bar, "not measured", None
    else:
        kept = backlog["long"] / backlog["short"]
        yield name, bar, f"{kept:.0%}", kept >= 0.9
    name, bar = "memory of the whole tree after many pictures", "≤ 900 MB, ≤ 5 % more"
    if not memory:
        yield name, bar, "not measured", None
        return
    growth = memory["many_mb"] / memory["few_mb"] - 1
    shown = f"{memory['many_mb']:,.0f} MB, {growth:+.1%}"
    yield name, bar, shown, memory["many_mb"] <= 900 and growth <= 0.05


def _at_least(figure: str, bar: float, ratio: float, word: str) -> Target:
    return figure, f"{bar:g}× {word}", f"{ratio:.1f}×", ratio >= bar


def _at_most(figure: str, bar: float, ratio: float) -> Target:
    return figure, f"≤ {bar:g}×", f"{ratio:.2f}×", ratio <= bar


def _seconds(figure: str, bar: float, seconds: float | None) -> Target:
    if seconds is None:
        return figure, f"≤ {bar:g} s", "not measured", None
    return figure, f"≤ {bar:g} s", f"{number(seconds)} s", seconds <= bar


def _batch_of_one(results: Results, modality: str) -> float:
    rows = results["encoders"]["ours"]
    return next(float(r["ms"]) for r in rows if (r["modality"], r["batch"]) == (modality, 1))
