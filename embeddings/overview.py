"""How far each space is, for whoever waits for it."""

from __future__ import annotations

import dataclasses
import math
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from django.db import DatabaseError
from django.utils import timezone

from catalog.models import Installation, Item
from embeddings.management.progress import duration
from embeddings.models import Embedding, EmbeddingJob, EmbeddingSpace, SpaceOpening, SpaceSwitch
from embeddings.spaces import live_spaces

FRESH: Final = timedelta(minutes=1)
"""A pace measured longer ago says nothing about when the rest will be done."""
NEWS_EVERY: Final = 2.0
"""Seconds for which pages repeat what a process found."""


@dataclasses.dataclass(frozen=True)
class SpaceProgress:
    """One live space, in items."""

    space: EmbeddingSpace
    of: int
    done: int
    failed: int

    @property
    def waiting(self) -> int:
        return max(self.of - self.done - self.failed, 0)

    @property
    def percent(self) -> int:
        """Rounded down: 100 means all."""
        return 100 * (self.done + self.failed) // self.of if self.of else 100

    @property
    def rate(self) -> float | None:
        """Items a second, while it is being embedded."""
        told = self.space.rate_at
        if told is None or timezone.now() - told > FRESH or not self.waiting:
            return None
        return self.space.rate

    @property
    def seconds_left(self) -> float | None:
        """Until nothing waits, at the present pace; None where there is none."""
        if not self.waiting:
            return 0.0
        return self.waiting / self.rate if self.rate else None

    @property
    def time_left(self) -> str:
        """The same in words, empty where nobody can say."""
        return duration(self.seconds_left) if self.seconds_left else ""

    def as_dict(self) -> dict[str, Any]:
        """What programs read; it names no path."""
        return {
            "id": self.space.pk,
            "model": self.space.model,
            "revision": self.space.revision,
            "dimension": self.space.dimension,
            "precision": self.space.precision,
            "state": self.space.state,
            "items": self.of,
            "done": self.done,
            "waiting": self.waiting,
            "failed": self.failed,
            "items_per_second": None if self.rate is None else round(self.rate, 2),
            "seconds_left": None if self.seconds_left is None else round(self.seconds_left),
        }


def progress_of(space: EmbeddingSpace) -> SpaceProgress:
    """How far a live space is; by the queue alone where it was complete, so that it is cheap."""
    items = Item.objects.count()
    rows = EmbeddingJob.objects.filter(space=space)
    failed = rows.filter(failed_at__isnull=False).count()
    done = items - rows.count()
    if space.complete_since is None:  # its jobs may still be being written
        embedded = Embedding.objects.filter(space=space).order_by().values("item").distinct()
        done = min(done, embedded.count())
    return SpaceProgress(space, items, max(done, 0), failed)


def progress() -> list[SpaceProgress]:
    """The live spaces, the active one first."""
    return [progress_of(space) for space in live_spaces()]


@dataclasses.dataclass(frozen=True)
class Arriving:
    """What was added and is found by its words alone as yet."""

    of: int
    """Items there are;"""
    done: int
    """those of them that are indexed."""
    time_left: str
    demo: bool
    """Whether the demo catalogue is not loaded to its end."""

    def __str__(self) -> str:
        if not self.of:
            return "The demo catalogue is on its way."
        left = f", about {self.time_left} left" if self.time_left else ""
        indexed = f"{self.done:,} of {self.of:,} items are indexed so far{left}."
        if self.demo:
            return f"The demo catalogue is not complete yet: {indexed}"
        return f"{indexed} The others are found by their words alone."


@dataclasses.dataclass(frozen=True)
class Outline:
    """What every page may say."""

    source: str = ""
    """What the model in use was named."""
    arriving: Arriving | None = None
    """What the space in use still waits for; None where nothing waits."""
    news: tuple[str, ...] = ()
    """What goes on beside it, in sentences. Names no path, host or process: everyone reads it."""


def outline() -> Outline:
    """The outline, found anew every few seconds; an empty one where the database cannot tell."""
    global _outline  # noqa: PLW0603  one a process
    now = time.monotonic()
    if now - _outline[0] > NEWS_EVERY:
        try:
            _outline = (now, _find_outline())
        except DatabaseError:
            return Outline()
    return _outline[1]


def forget_outline() -> None:
    """Look anew when next asked."""
    global _outline  # noqa: PLW0603
    _outline = (-math.inf, Outline())


_outline = (-math.inf, Outline())


def _find_outline() -> Outline:
    news = [
        f"The model {Path(opening.model).name} is being opened."
        for opening in SpaceOpening.objects.filter(error="", is_wish=True)
    ]
    switch = SpaceSwitch.objects.first()
    active, arriving = "", None
    for space in live_spaces():
        takes_over = switch is not None and switch.target_id == space.pk
        if space.state == EmbeddingSpace.State.ACTIVE:
            active, arriving = space.source, _arriving(space)
        elif space.state == EmbeddingSpace.State.BUILDING:
            news.append(_building(progress_of(space), takes_over=takes_over))
        elif takes_over:
            news.append(f"{space} takes over in a moment.")
    return Outline(active, arriving, tuple(news))


def _arriving(active: EmbeddingSpace) -> Arriving | None:
    demo = Installation.objects.filter(demo=Installation.Demo.LOADING).exists()
    if not (demo or EmbeddingJob.objects.filter(space=active, failed_at__isnull=True).exists()):
        return None  # without counting the items
    found = progress_of(active)
    return Arriving(found.of, found.done, found.time_left, demo)


def _building(found: SpaceProgress, *, takes_over: bool) -> str:
    left = f", about {found.time_left} left" if found.time_left else ""
    then = " It takes over once it is complete." if takes_over else ""
    return (
        f"Another model is being made ready beside the one in use, {found.space}:"
        f" {found.done:,} of {found.of:,} items ({found.percent} %){left}.{then}"
    )
