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

from embeddings.encoders.base import EncoderError, Modality, Purpose, Vectors, unit
from embeddings.encoders.finding.prepared import TOKENIZER, Prepared
from embeddings.encoders.serving.inputs import Feeds, Inputs
from embeddings.encoders.serving.openvino_runtime import compile_network, usable_processors
from embeddings.encoders.serving.tokenization import Tokenizer

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
                f"{path} cannot be loaded ({reason}): delete {path.parent} and start again, the "
                f"model is then prepared anew."
            ) from exc
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
        return vectors


class Tower:
    """One network, and how its runs share the processors.

    A lone run takes all of them. Several may follow one another or stand side by side, each on one
    processor: which is faster depends on the machine and on what else runs there, so the first
    batches take turns, and the faster way is kept for as long as the process lives.
    """

    def __init__(self, path: Path, precision: str, *, threads: int) -> None:
        self._compile = functools.partial(Compiled, path, precision, threads=threads)
        self._threads = threads
        self._whole = self._compile(streams=1)
        self._apart: Compiled | None = None
        self._pace: dict[bool, list[float]] = {False: [], True: []}
        """Seconds an input, by whether runs stood side by side."""
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="encode")

    def __call__(self, runs: Sequence[Sequence[int]], feeds: Callable[..., Feeds]) -> list[Vectors]:
        """The vectors of each run's positions; `feeds` makes a run's inputs, beside another run."""
        if len(runs) == 1:
            return [self._whole(feeds(runs[0]))]
        if self._threads == 1 or len(runs) < self._threads:
            return self._through(self._whole, runs, feeds)
        with self._measured(sum(map(len, runs))) as compiled:
            return self._through(compiled, runs, feeds)

    def _through(
        self, compiled: Compiled, runs: Sequence[Sequence[int]], feeds: Callable[..., Feeds]
    ) -> list[Vectors]:
        return list(self._pool.map(lambda chosen: compiled(feeds(chosen)), runs))

    @contextlib.contextmanager
    def _measured(self, count: int) -> Iterator[Compiled]:
        """The way to run `count` inputs, timed while both are tried."""
        with self._lock:
            tried = min(map(len, self._pace.values())) < ROUNDS
            if tried and self._apart is None:
                self._apart = self._compile(streams=self._threads)
            aside = len(self._pace[True]) < len(self._pace[False]) if tried else self._apart
        compiled = self._apart if aside and self._apart is not None else self._whole
        began = time.perf_counter()
        yield compiled
        if tried:
            with self._lock:
                self._pace[bool(aside)].append((time.perf_counter() - began) / count)
                if min(map(len, self._pace.values())) >= ROUNDS:
                    # The first of each sets itself up.
                    whole, apart = (min(self._pace[key][1:]) for key in (False, True))
                    if whole <= apart:
                        self._apart = None


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
            runs = list(waiting.runs(self.prepared.towers[modality].batch))
            for chosen, vectors in zip(
                runs, self._tower(modality)(runs, waiting.feeds), strict=True
            ):
                out[chosen] = vectors
        return unit(out)

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
