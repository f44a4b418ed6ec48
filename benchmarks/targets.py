"""The figures that were promised, each beside what was measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Final

from benchmarks.plots import number

MILLION: Final = 1_000_000
MILLION_FIGURES: Final = (
    ("recall@10", "≥ 0.99", "recall", "{:.4f}", 0.99),
    ("index P50 with re-ranking", "≤ 1 ms", "p50_ms", "{:.2f} ms", 1.0),
    ("bytes a vector in memory", "≤ 800", "bytes_per_vector", "{:.0f}", 800.0),
    ("index opened", "≤ 0.5 s", "open_ms", "{:.0f} ms", 500.0),
    ("searchable while it is built", "yes", "building_p50_ms", "yes, P50 {:.1f} ms", 1e9),
)
"""What, target, key of the index row, how it is shown, limit."""
Results = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Target:
    """One promised figure; `reached` is None where this run did not measure it."""

    figure: str
    bar: str
    measured: str
    reached: bool | None


def targets(results: Results) -> list[Target]:
    """All promised figures in order."""
    return [
        *_search(results),
        *_ingestion(results),
        *_million(results),
        _fresh(results),
        _beside(results),
        _memory(results),
        _first(results),
    ]


def _search(results: Results) -> Iterator[Target]:
    ours, baseline = _by_clients(results, "ours"), _by_clients(results, "baseline")
    items = f"{results['run']['items']:,} items"
    ratio = baseline[1]["p50"] / ours[1]["p50"]
    yield Target(
        f"text query over HTTP, P50, {items}: against the baseline",
        "10× lower",
        f"{number(ours[1]['p50'])} ms, {ratio:.1f}× lower",
        ratio >= 10,
    )
    stages = results["anatomy"]["search"]["stages"]
    bare = stages["encoder"] + stages["index"]
    ratio = ours[1]["p50"] / bare
    yield Target(
        "the same: against the bare text encoder and index",
        "≤ 2×",
        f"{number(ours[1]['p50'])} ms for {number(bare)} ms, {ratio:.2f}×",
        ratio <= 2,
    )
    most = max(ours)
    ratio = ours[most]["rate"] / baseline[most]["rate"]
    yield Target(
        f"queries a second at {most} clients: against the baseline",
        "15×",
        f"{number(ours[most]['rate'])} /s, {ratio:.1f}×",
        ratio >= 15,
    )


def _by_clients(results: Results, name: str) -> dict[int, dict[str, float]]:
    return {row["clients"]: row for row in results["search"][name]}


def _ingestion(results: Results) -> Iterator[Target]:
    for row in results["ingestion"]:
        rate = row["ours"]["rate"]
        if row["size"] == "large":
            ratio = rate / row["baseline"]["rate"]
            yield Target(
                f"12-megapixel JPEGs, {row['way']}: against the baseline",
                "8×",
                f"{number(rate)} /s, {ratio:.1f}×",
                ratio >= 8,
            )
        else:
            share = rate / row["bare"]
            yield Target(
                f"512-pixel JPEGs, {row['way']}: against the bare int8 encoder",
                "≥ 90 %",
                f"{number(rate)} /s, {share:.0%}",
                # No pipeline outruns its encoder: the machine's speed changed between the two.
                None if share > 1.05 else share >= 0.9,
            )


def _million(results: Results) -> Iterator[Target]:
    rows = [
        row
        for row in results["index"]
        if row["vectors"] == MILLION and row["index"].startswith("ours")
    ]
    for figure, bar, key, form, limit in MILLION_FIGURES:
        name = f"1,000,000 vectors: {figure}"
        if not rows:
            yield Target(name, bar, "not measured in this run", None)
            continue
        value = rows[0][key]
        reached = value >= limit if bar.startswith("≥") else 0 < value <= limit
        yield Target(name, bar, form.format(value), reached)
    yield Target(
        f"process ready ({results['run']['items']:,} items)",
        "≤ 5 s",
        f"{results['start']['ours']:.1f} s",
        results["start"]["ours"] <= 5,
    )


def _fresh(results: Results) -> Target:
    fresh = results["fresh"]
    return Target(
        "committed vector → found by another process",
        "≤ 1 s",
        f"median {fresh['median'] * 1000:.0f} ms, worst {fresh['worst'] * 1000:.0f} ms",
        fresh["worst"] <= 1,
    )


def _beside(results: Results) -> Target:
    idle, busy = results["beside"]["idle"]["p99"], results["beside"]["busy"]["p99"]
    return Target(
        "search P99 while ingesting, against idle",
        "≤ 2×",
        f"{number(busy)} ms for {number(idle)} ms, {busy / idle:.2f}×",
        busy / idle <= 2,
    )


def _memory(results: Results) -> Target:
    name, bar = "memory of the worker after 20,000 items, against after 1,000", "≤ 5 % more"
    if not results.get("memory"):
        return Target(name, bar, "not measured in this run", None)
    first, second = (step["worker_mb"] for step in results["memory"]["steps"])
    growth = second / first - 1
    return Target(
        name, bar, f"{first:,.0f} → {second:,.0f} MB, {growth * 100:+.1f} %", growth <= 0.05
    )


def _first(results: Results) -> Target:
    name, bar = "first result over an empty data folder, after install", "≤ 30 s"
    if not results.get("first"):
        return Target(name, bar, "not measured in this run", None)
    seconds = results["first"]["first_result"]
    return Target(name, bar, f"{seconds:.1f} s", seconds <= 30)
