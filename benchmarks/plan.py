"""How much of everything a run does."""

from __future__ import annotations

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """Sizes and repetitions; every figure of the report is a median over `rounds`."""

    model: Path
    items: int
    quick: bool
    rounds: int
    clients: tuple[int, ...] = (1, 8, 32)
    search_seconds: float
    """A round of searches, per number of clients."""
    encoder_seconds: float
    """Per batch size and modality."""
    large: int
    """12-megapixel pictures a round for ours."""
    small: int
    """512-pixel pictures a round for ours."""
    baseline_share: float
    """Share of those counts that the baseline gets: it is slower, and its rate is steady."""
    stream_clients: int = 4
    beside: int
    """512-pixel pictures that are ingested while searches are timed."""
    fresh: int
    """Items whose way into the index is timed one by one."""
    memory_steps: tuple[int, int] | None
    """Items after which memory is read."""
    index_sizes: tuple[int, ...]


def full(model: Path, items: int) -> Plan:
    """The run that docs/PERFORMANCE_REPORT.md is made by."""
    return Plan(
        model=model,
        items=items,
        quick=False,
        rounds=3,
        search_seconds=5.0,
        encoder_seconds=2.0,
        large=96,
        small=480,
        baseline_share=0.125,
        beside=1200,
        fresh=20,
        memory_steps=(1_000, 20_000),
        index_sizes=(10_000, 100_000),
    )


def quick(model: Path, items: int) -> Plan:
    """Everything that fits into three minutes: one round each, rough."""
    return Plan(
        model=model,
        items=items,
        quick=True,
        rounds=1,
        search_seconds=1.5,
        encoder_seconds=0.3,
        large=16,
        small=64,
        baseline_share=0.25,
        beside=250,
        fresh=5,
        memory_steps=None,
        index_sizes=(10_000,),
    )


def with_million(plan: Plan) -> Plan:
    """The same with an index of 1,000,000 vectors, which takes a quarter of an hour."""
    return dataclasses.replace(plan, index_sizes=(*plan.index_sizes, 1_000_000))
