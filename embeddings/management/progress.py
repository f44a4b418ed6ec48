"""Progress of a long command: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from time import monotonic
from types import TracebackType
from typing import Final, Self, TextIO

from tqdm import tqdm

SECONDS_BETWEEN_LINES: Final = 5.0


class Progress:
    """Counts up to an estimated total; shows rate and time left."""

    def __init__(self, stream: TextIO, *, total: int, what: str) -> None:
        self.done = 0
        self._stream = stream
        self._total = total
        self._what = what
        self._started = self._said = monotonic()
        self._bar: tqdm[None] | None = None
        if stream.isatty():
            self._bar = tqdm(total=total, unit=f" {what}", file=stream, dynamic_ncols=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, steps: int = 1) -> None:
        """Count further steps as done."""
        self.done += steps
        if self._bar is not None:
            self._bar.total = max(self._total, self.done)
            self._bar.update(steps)
        elif monotonic() - self._said >= SECONDS_BETWEEN_LINES:
            self._said = monotonic()
            self._stream.write(f"{self.line()}\n")

    def note(self, text: str) -> None:
        """Write a line of its own."""
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        else:
            self._stream.write(f"{text}\n")

    def line(self) -> str:
        """Where things stand, in words."""
        rate = self.done / max(monotonic() - self._started, 1e-9)
        total = max(self._total, self.done)
        left = (total - self.done) / rate if rate else 0.0
        return (
            f"{self.done:,} of about {total:,} {self._what}, {rate:,.1f} a second,"
            f" {duration(left)} left"
        )


def duration(seconds: float) -> str:
    """A time in words, for people who wait."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def counted(number: int, what: str) -> str:
    """A number of things in words: `1 item`, `1,234 items`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
