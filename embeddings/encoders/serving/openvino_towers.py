"""The towers of a prepared model on processors, each loaded on its own first use."""

from __future__ import annotations

import contextlib
import functools
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from catalog.resources import return_freed_memory
from embeddings.encoders.base import EncoderError, Modality, Purpose, Vectors, unit
from embeddings.encoders.finding.prepared import TOKENIZER, Prepared
from embeddings.encoders.serving.inputs import Feeds, Inputs
from embeddings.encoders.serving.openvino_runtime import (
    compile_network,
    let_go_of_pages,
    usable_processors,
)
from embeddings.encoders.serving.tokenization import Tokenizer

LEAST_TRIED: Final = 16
"""Inputs from which on a batch says which way of running is faster, in runs of one size."""
ROUNDS: Final = 3
"""Batches that each way of running gets before the faster one is kept."""


class Compiled:
    """A network compiled for one way of running. Thread-safe; a run releases the GIL."""

    def __init__(self, path: Path, precision: str, *, threads: int, streams: int) -> None:
        try:
            compiled = compile_network(path, precision, threads=threads, streams=streams)
        except RuntimeError as exc:
            reason = " ".join(str(exc).split())
            raise EncoderError(
                f"{path} cannot be loaded ({reason}): delete {path.parent}, and the model is "
                "prepared anew when it is needed."
            ) from exc
        self._weights = path.with_suffix(".bin").resolve()
        self._unpacked = streams
        """First runs, each of which may still pack weights."""
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(streams):
            self._requests.put(compiled.create_infer_request())

    def __call__(self, feeds: Feeds) -> Vectors:
        """Vectors float32 (n, d), not normalised, for one run's inputs."""
        request = self._requests.get()
        try:
            vectors: Vectors = request.infer(dict(feeds), share_inputs=True)[0].copy()
        finally:
            self._requests.put(request)
        if self._unpacked > 0:
            self._unpacked -= 1
            let_go_of_pages(self._weights)
        return vectors


class Tower:
    """One network, and how its runs share the processors.

    Several runs may follow one another, each on all processors, or stand side by side, each on one:
    which is faster depends on the machine and on what else runs there. The batches of a process
    that has many take turns, then the faster way is kept, alone: each has a copy of the weights.
    """

    def __init__(self, path: Path, precision: str, *, threads: int) -> None:
        self._compile = functools.partial(Compiled, path, precision, threads=threads)
        self._threads = threads
        self._kept = self._compile(streams=1)
        self._apart: Compiled | None = None
        """The other way, while both are tried."""
        self._tried = threads == 1
        self._pace: dict[bool, list[float]] = {False: [], True: []}
        """Seconds an input, by whether runs stood side by side."""
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="encode")

    def __call__(
        self, runs: Sequence[Sequence[int]], feeds: Callable[..., Feeds], *, purpose: Purpose
    ) -> list[Vectors]:
        """The vectors of each run's positions; `feeds` makes a run's inputs, beside another run.

        Queries, which people wait for, are nothing to try ways on.
        """
        if self._tried or purpose is Purpose.QUERY or not self._says_which(runs):
            return self._through(self._kept, runs, feeds)
        with self._measured(sum(map(len, runs))) as compiled:
            return self._through(compiled, runs, feeds)

    def _says_which(self, runs: Sequence[Sequence[int]]) -> bool:
        """Whether a batch is large and even enough to tell which way is faster."""
        sizes = [len(chosen) for chosen in runs]
        even = len(sizes) >= self._threads and min(sizes) == max(sizes)
        return even and sum(sizes) >= LEAST_TRIED

    def _through(
        self, compiled: Compiled, runs: Sequence[Sequence[int]], feeds: Callable[..., Feeds]
    ) -> list[Vectors]:
        if len(runs) == 1:
            return [compiled(feeds(runs[0]))]
        return list(self._pool.map(lambda chosen: compiled(feeds(chosen)), runs))

    @contextlib.contextmanager
    def _measured(self, count: int) -> Iterator[Compiled]:
        """The way to run `count` inputs, timed."""
        with self._lock:
            whole, apart = self._pace[False], self._pace[True]
            # The other way is compiled for the third batch: few items need no second copy.
            aside = len(apart) < len(whole) - 1
            if aside and self._apart is None:
                self._apart = self._compile(streams=self._threads)
            compiled = self._apart if aside and self._apart is not None else self._kept
        began = time.perf_counter()
        yield compiled
        with self._lock:
            self._pace[aside].append((time.perf_counter() - began) / count)
            if not self._tried and len(apart) >= ROUNDS:
                # The first of each sets itself up.
                if self._apart is not None and min(apart[1:]) < min(whole[1:]):
                    self._kept = self._apart
                self._apart, self._tried = None, True
                return_freed_memory()


class OpenVinoTowers:
    """Towers and tokenizer of one prepared model. Thread-safe."""

    def __init__(self, prepared: Prepared, threads: int | None = None) -> None:
        """`threads` counts those of one tower, by default one a processor."""
        self.prepared = prepared
        self._threads = threads or usable_processors()
        self._lock = threading.Lock()
        self._towers: dict[Modality, Tower] = {}
        self._inputs = Inputs(lambda: self._tokenizer, prepared.preprocessing)

    def encode(
        self, modality: Modality, inputs: Sequence[Any], *, purpose: Purpose = Purpose.DOCUMENT
    ) -> Vectors:
        """The contract of `Encoder.encode`."""
        out: NDArray[np.float32]
        out = np.empty((len(inputs), self.prepared.description.dimension), np.float32)
        if inputs:
            waiting = self._inputs.queue(modality, inputs, purpose)
            # Queries, which share the processors with what answers them, are kept together.
            beside = 1 if purpose is Purpose.QUERY else self._threads
            runs = waiting.runs(self.prepared.towers[modality].batch, beside=beside)
            for chosen, vectors in zip(
                runs, self._tower(modality)(runs, waiting.feeds, purpose=purpose), strict=True
            ):
                out[chosen] = vectors
        return unit(out)

    def ready(self, modality: Modality, value: Any) -> Any:
        """The contract of `Encoder.ready`."""
        return self._inputs.ready(modality, value)

    def pieces(self, words: Sequence[str]) -> list[int]:
        """The contract of `Encoder.pieces`."""
        return self._inputs.pieces(words)

    @functools.cached_property
    def _tokenizer(self) -> Tokenizer:
        serialised = (self.prepared.directory / TOKENIZER).read_text(encoding="utf-8")
        return Tokenizer(serialised, self.prepared.tokenization)

    def _tower(self, modality: Modality) -> Tower:
        with self._lock:
            if modality not in self._towers:
                self._towers[modality] = Tower(
                    self.prepared.network(modality),
                    self.prepared.towers[modality].precision,
                    threads=self._threads,
                )
            return self._towers[modality]
