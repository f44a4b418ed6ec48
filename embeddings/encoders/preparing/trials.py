"""Which precision of a tower is served: the fastest, on this machine, that is close enough."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, Final

import numpy as np

from embeddings.encoders.base import EncoderError, Modality, Purpose, Vectors, unit
from embeddings.encoders.finding.prepared import PreparedTower, Trial
from embeddings.encoders.preparing.parity import Parity, compare
from embeddings.encoders.serving.inputs import Feeds, Inputs, Queue

SIZES: Final = (1, 4, 8, 16, 32)
"""Inputs a run that are tried on processors."""
CUDA_SIZES: Final = (1, 8, 32, 128, 512)
"""On a GPU, as far as its memory goes."""
ROUNDS: Final = 7
"""Runs of each size and candidate, in turns, so that a busy moment hits all alike."""
PATIENCE: Final = 10.0
"""Seconds for the rounds of one size; at least one is done."""
GAIN: Final = 0.97
"""A larger batch has to take less than this share of the time: it takes memory, too."""

Run = Callable[[Feeds], Vectors]


@dataclasses.dataclass(frozen=True)
class Candidate:
    precision: str
    run: Run
    parity: Parity
    insisted: bool
    """Whether it is served however far it is."""

    @property
    def accepted(self) -> bool:
        return self.insisted or self.precision == "fp32" or self.parity.is_close


def encode(run: Run, waiting: Queue) -> Vectors:
    """Unit vectors float32 (n, d) of everything in the queue."""
    out: Vectors | None = None
    for chosen in waiting.runs(SIZES[-1]):
        vectors = run(waiting.feeds(chosen))
        if out is None:
            out = np.empty((len(waiting.order), vectors.shape[1]), np.float32)
        out[chosen] = vectors
    return unit(np.empty((0, 0), np.float32) if out is None else out)


def judge(
    precision: str,
    run: Run,
    waiting: Queue,
    expected: Vectors,
    others: Sequence[Vectors],
    *,
    insisted: bool,
) -> Candidate:
    """The candidate and its parity. Raises EncoderError where fp32 is another network."""
    parity = compare(expected, encode(run, waiting), others)
    if precision == "fp32" and parity.count and not parity.is_exact:
        raise EncoderError(f"The converted network differs from torch's ({parity}).")
    return Candidate(precision, run, parity, insisted)


def choose(
    candidates: Sequence[Candidate],
    modality: Modality,
    inputs: Inputs,
    samples: Sequence[Any],
    sizes: Sequence[int] = SIZES,
) -> PreparedTower:
    """Time the candidates against one another, and take the fastest of those accepted.

    Raises EncoderError where there is none.
    """
    if not candidates:
        raise EncoderError("This precision cannot be made here: choose another, or none.")
    trials = [
        _trial(candidate, times)
        for candidate, times in zip(
            candidates, _times(candidates, modality, inputs, samples, sizes), strict=True
        )
    ]
    # Alone and in batches count alike: queries come one by one, a catalogue in batches.
    best = min(
        (trial for trial in trials if trial.accepted),
        key=lambda trial: trial.single_ms * trial.batched_ms,
    )
    return PreparedTower(precision=best.precision, batch=best.batch, trials=tuple(trials))


def _times(
    candidates: Sequence[Candidate],
    modality: Modality,
    inputs: Inputs,
    samples: Sequence[Any],
    sizes: Sequence[int],
) -> list[dict[int, float]]:
    """Of each candidate: median milliseconds an input, by size of the run."""
    found: list[dict[int, float]] = [{} for _ in candidates]
    for size in sizes:
        repeated = (list(samples) * size)[:size]
        feeds = inputs.queue(modality, repeated, Purpose.DOCUMENT).feeds(range(size))
        taken: list[list[float]] = [[] for _ in candidates]
        began = time.perf_counter()
        for number in range(ROUNDS + 1):
            for candidate, durations in zip(candidates, taken, strict=True):
                started = time.perf_counter()
                try:
                    candidate.run(feeds)
                except RuntimeError:  # what torch raises where the GPU's memory is full
                    if size == 1:
                        raise
                    return found
                durations.append(time.perf_counter() - started)
            if number and time.perf_counter() - began > PATIENCE:
                break
        for times, durations in zip(found, taken, strict=True):
            times[size] = median(durations[1:]) * 1000 / size  # the first sets itself up
    return found


def _trial(candidate: Candidate, times: dict[int, float]) -> Trial:
    batch = 1
    for size, milliseconds in times.items():
        if milliseconds < GAIN * times[batch]:
            batch = size
    return Trial(
        precision=candidate.precision,
        parity=str(candidate.parity),
        accepted=candidate.accepted,
        single_ms=round(times[1], 3),
        batch=batch,
        batched_ms=round(times[batch], 3),
    )
