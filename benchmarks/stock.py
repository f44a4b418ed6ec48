"""How much of everything a run does, and what it does it with."""

from __future__ import annotations

import csv
import dataclasses
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from benchmarks import material

SIZES: Final = {"large": "12-megapixel JPEG", "small": "512-pixel JPEG"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """How much of everything a run does; figures are medians over `rounds`."""

    items: int
    quick: bool = False
    rounds: int = 3
    clients: tuple[int, ...] = (1, 8, 32)
    seconds: float = 5.0
    """A round of searches; the encoders take less than half of it a batch size."""
    pictures: int = 96
    """12-megapixel pictures a round for ours; of 512 pixels five times as many, for the baseline
    an eighth of each: it is slower, and its rate is steady."""
    beside: int = 1200
    """512-pixel pictures ingested while searches are timed."""
    fresh: int = 20
    """Items whose way into the index is timed one by one."""
    memory: int = 20_000
    """Pictures over which memory may not grow."""
    backlog: int = 0
    """Captions loaded at once, to see whether a long queue is slower than a short one."""


QUICK: Final = Plan(
    items=5_000, quick=True, rounds=1, seconds=1.5, pictures=16, beside=250, fresh=5, memory=0
)


class Stock:
    """Texts and pictures; none is given out twice."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._texts = material.captions(seed=3)
        self._pictures = material.ensure_pictures()

    def captions(self, count: int) -> Path:
        """A CSV of captions, as `ingest_dataset` reads it.

        A tenth of them has each category, a hundredth each tag.
        """
        path = self.folder / f"captions-{count}.csv"
        texts: Iterator[str] = islice(material.captions(seed=5), count)
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(("id", "caption", "category", "tags"))
            writer.writerows(
                (f"item-{number}", text, f"shelf {number % 10}", f"box {number % 100}")
                for number, text in enumerate(texts)
            )
        return path

    def words(self, count: int) -> list[str]:
        return list(islice(self._texts, count))

    def pictures(self, size: str, count: int) -> list[Path]:
        """Files in a folder of their own."""
        name = f"{size}-{time.monotonic_ns():x}"
        pictures = self._pictures[size]
        return material.write_pictures(self.folder / name, pictures, count, label=name)
