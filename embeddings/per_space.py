"""What a process holds of each space it answers or embeds for: an encoder, an index, a cache."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Collection
from typing import Any, Final, Generic, TypeVar

from django.core.signals import setting_changed

from embeddings.models import EmbeddingSpace

UNUSED: Final = 300.0
"""Seconds after which what nobody asked for is let go; a comparison or a rollback may follow."""

ThingT = TypeVar("ThingT")


class PerSpace(Generic[ThingT]):
    """One thing a space and process, built on first use and shared by all threads.

    Nothing is closed under anyone: what is let go ends with the last query that uses it.
    """

    def __init__(self, build: Callable[[EmbeddingSpace], ThingT]) -> None:
        self._build = build
        self._lock = threading.Lock()
        self._entries: dict[int, _Entry[ThingT]] = {}
        _all.add(self)

    def of(self, space: EmbeddingSpace) -> ThingT:
        """The space's own; other spaces do not wait while it is built."""
        with self._lock:
            entry = self._entries.setdefault(space.pk, _Entry())
            entry.used = time.monotonic()
        with entry.lock:
            if entry.thing is None:
                entry.thing = self._build(space)
            return entry.thing

    def known(self, space_id: int) -> ThingT | None:
        """The space's own where it is held already."""
        with self._lock:
            entry = self._entries.get(space_id)
            if entry is None:
                return None
            entry.used = time.monotonic()
            return entry.thing

    def forget(self, space: EmbeddingSpace) -> None:
        """Hold the space's own no more; the next use builds anew."""
        with self._lock:
            self._entries.pop(space.pk, None)

    def let_go(self, *, keep: Collection[int], unused: float) -> None:
        """Hold no more what was not asked for in `unused` seconds, but for the spaces of `keep`."""
        since = time.monotonic() - unused
        with self._lock:
            for space_id, entry in list(self._entries.items()):
                if space_id not in keep and entry.used <= since:
                    del self._entries[space_id]

    def begin_anew(self) -> None:
        """In a forked child, which shares neither threads nor locks with its parent."""
        self._lock = threading.Lock()
        self._entries = {}


class _Entry(Generic[ThingT]):
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.used = 0.0
        self.thing: ThingT | None = None


_all: Final[weakref.WeakSet[PerSpace[Any]]] = weakref.WeakSet()


def let_go(*, keep: Collection[int], unused: float = UNUSED) -> None:
    """Hold no more what belongs to spaces that are not used here any longer."""
    for each in _all:
        each.let_go(keep=keep, unused=unused)


def reset() -> None:
    """Hold nothing; the next use builds anew."""
    let_go(keep=(), unused=0.0)


def _reset_on_change(*, setting: str, **_: Any) -> None:
    if setting.startswith("MMSEARCH_"):
        reset()


def _reset_after_fork() -> None:
    for each in _all:
        each.begin_anew()


setting_changed.connect(_reset_on_change, dispatch_uid="embeddings.reset_per_space")
os.register_at_fork(after_in_child=_reset_after_fork)
