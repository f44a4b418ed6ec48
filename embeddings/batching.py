"""Queries that arrive together are encoded together, and recent ones not again."""

from __future__ import annotations

import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from embeddings.encoders.base import Encoder, EncoderError, Modality, Purpose

Vector = NDArray[np.float32]

MAX_BATCH: Final = 8
"""Queries encoded at once: a batch of so many fills the processors."""
REMEMBERED: Final = 1024
"""Query vectors kept for what is asked again."""
LARGEST_REMEMBERED: Final = 8192
"""Bytes; larger queries are not kept, so that the memory of the kept ones is bounded."""


class QueryAbandoned(Exception):  # noqa: N818  nobody's fault
    """Whoever asked has gone; the query was not computed."""


class Batcher:
    """Encodes queries of one modality for many threads through one encoder.

    Queries that have a value to be known by (texts do, pictures do not) are encoded once where
    equal ones wait together, and those encoded last not again.

    No thread of its own: a caller that finds the encoder free encodes at once, with whatever else
    waits at that moment; callers that come meanwhile wait, and when the batch is done one of them
    takes all of them on. So an idle system adds no wait, and a busy one batches by itself.
    """

    def __init__(self, encoder: Encoder, modality: Modality) -> None:
        self._encoder = encoder
        self._modality = modality
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._remembered: OrderedDict[Hashable, Vector] = OrderedDict()
        self._busy = False

    def encode(
        self,
        query: Any,
        *,
        timeout: float | None = None,
        is_abandoned: Callable[[], bool] | None = None,
    ) -> Vector:
        """The unit vector of `query`, float32 (d,), read-only.

        A caller that has waited `timeout` seconds gives up, and `is_abandoned` is asked before
        encoding begins: a query that nobody waits for any more is not encoded. Raises
        EncoderError, also on giving up, and QueryAbandoned.
        """
        key = query if isinstance(query, Hashable) else id(query)
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._lock:
            known = self._remembered.get(key)
            if known is not None:
                self._remembered.move_to_end(key)
                return known
            entry = self._entries.setdefault(key, _Entry(key, query))
            entry.callers += 1
            if is_abandoned is not None:
                entry.watches.append(is_abandoned)
            leads = self._take_lead(entry)
        while True:
            if leads:
                self._encode_waiting(entry)
            elif not entry.woken.wait(None if deadline is None else deadline - time.monotonic()):
                self._give_up(entry, timeout)
            with self._lock:
                if entry.error is not None:
                    raise entry.error
                if entry.vector is not None:
                    return entry.vector
                entry.woken.clear()
                leads = self._take_lead(entry)

    def recent(self) -> list[Vector]:
        """The vectors of what was asked last, the very last at the end."""
        with self._lock:
            return list(self._remembered.values())

    def _take_lead(self, entry: _Entry) -> bool:
        """Whether the caller is to encode `entry` and what else waits. Needs the lock."""
        if self._busy:
            return False
        self._busy = entry.is_taken = True
        return True

    def _encode_waiting(self, own: _Entry) -> None:
        """Encode one batch, `own` first, and wake a waiting caller to go on."""
        with self._lock:
            waiting = [own, *(entry for entry in self._entries.values() if not entry.is_taken)]
            dropped = [entry for entry in waiting if entry.is_abandoned()]
            batch = [entry for entry in waiting if entry not in dropped]
            batch = batch[: _power_of_two(min(len(batch), MAX_BATCH))]
            for entry in batch:
                entry.is_taken = True
            for entry in dropped:
                entry.error = QueryAbandoned("The client has gone: its query was not computed.")
                del self._entries[entry.key]
                entry.woken.set()
        try:
            if batch:
                self._encode(batch)
        finally:
            with self._lock:
                self._busy = False
                for entry in batch:
                    del self._entries[entry.key]
                    self._remember(entry)
                    entry.woken.set()
                self._wake_next()

    def _remember(self, entry: _Entry) -> None:
        """Keep an answer for later. Needs the lock."""
        has_value = entry.key is entry.query
        small = sys.getsizeof(entry.query) <= LARGEST_REMEMBERED
        if entry.vector is not None and has_value and small:
            self._remembered[entry.key] = entry.vector
            if len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)

    def _encode(self, batch: list[_Entry]) -> None:
        """Fill in a vector or an error; one query that fails does not fail the others."""
        try:
            queries = [entry.query for entry in batch]
            vectors = self._encoder.encode(self._modality, queries, purpose=Purpose.QUERY)
        except Exception as exc:  # noqa: BLE001  every caller gets it
            if len(batch) == 1:
                batch[0].error = exc
                return
            for entry in batch:
                self._encode([entry])
            return
        except BaseException:
            for entry in batch:
                entry.error = EncoderError("Encoding was interrupted: ask again.")
            raise
        for entry, vector in zip(batch, vectors, strict=True):
            copied = vector.copy()
            copied.flags.writeable = False
            entry.vector = copied

    def _give_up(self, entry: _Entry, timeout: float | None) -> None:
        """Raise EncoderError, unless the answer came at the last moment."""
        with self._lock:
            if entry.is_answered:
                return
            entry.callers -= 1
            if entry.callers == 0 and not entry.is_taken:
                del self._entries[entry.key]
            if not self._busy:
                # It may have been this caller that was woken to go on.
                self._wake_next()
        raise EncoderError(
            f"The query was not encoded within {timeout} seconds: the machine is overloaded, "
            f"try again."
        )

    def _wake_next(self) -> None:
        """Wake the callers of the query that has waited longest. Needs the lock."""
        oldest = next(iter(self._entries.values()), None)
        if oldest is not None:
            oldest.woken.set()


def _power_of_two(count: int) -> int:
    """The highest up to `count`: for every size that it meets a network prepares itself."""
    return 1 << (count.bit_length() - 1) if count else 0


class _Entry:
    """One query, the callers that wait for it, and what became of it."""

    def __init__(self, key: Hashable, query: Any) -> None:
        self.key = key
        self.query = query
        self.callers = 0
        self.watches: list[Callable[[], bool]] = []
        """One of each caller that can tell that its client has gone."""
        self.is_taken = False
        self.woken = threading.Event()
        """Answered, or told to take the lead."""
        self.vector: Vector | None = None
        self.error: Exception | None = None

    def is_abandoned(self) -> bool:
        """Whether every caller's client has gone."""
        return len(self.watches) == self.callers and all(gone() for gone in self.watches)

    @property
    def is_answered(self) -> bool:
        return self.vector is not None or self.error is not None
