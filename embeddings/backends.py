"""From a settings alias to one backend per process.

Shaped like `django.core.files.storage.handler`: `{"alias": {"BACKEND": dotted path, "OPTIONS":
{...}}}`. One instance serves all threads, unlike Django's connection handlers: a model or an index
is far too large to have one a thread.
"""

from __future__ import annotations

import os
import threading
from typing import Any, Generic, Protocol, TypeVar, cast

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from embeddings.encoders.base import Encoder


class Closable(Protocol):
    def close(self) -> None: ...


BackendT = TypeVar("BackendT", bound=Closable)


class BackendHandler(Generic[BackendT]):
    """Builds the backend of an alias on first use, once per process, behind a lock."""

    def __init__(self, setting: str) -> None:
        self._setting = setting
        self._lock = threading.Lock()
        self._built: dict[str, BackendT] = {}
        setting_changed.connect(self._reset_on_change)
        os.register_at_fork(after_in_child=self._reset_after_fork)

    def __getitem__(self, alias: str) -> BackendT:
        """The backend of `alias`. Raises ImproperlyConfigured where settings do not name one."""
        with self._lock:
            if alias not in self._built:
                self._built[alias] = self._build(alias)
            return self._built[alias]

    def reset(self) -> None:
        """Close every backend; the next use builds anew."""
        with self._lock:
            built, self._built = self._built, {}
        for backend in built.values():
            backend.close()

    def _build(self, alias: str) -> BackendT:
        configured: dict[str, dict[str, Any]] = getattr(settings, self._setting)
        try:
            params = configured[alias]
            backend = import_string(params["BACKEND"])
        except (KeyError, ImportError) as exc:
            raise ImproperlyConfigured(
                f"{self._setting}[{alias!r}] names no backend that can be imported: {exc}."
            ) from exc
        return cast("BackendT", backend(**params.get("OPTIONS", {})))

    def _reset_on_change(self, *, setting: str, **_: Any) -> None:
        if setting == self._setting:
            self.reset()

    def _reset_after_fork(self) -> None:
        # A forked child shares neither threads nor locks with its parent: build afresh.
        self._lock = threading.Lock()
        self._built = {}


encoders: BackendHandler[Encoder] = BackendHandler("MMSEARCH_ENCODERS")


def default_encoder() -> Encoder:
    """The encoder that `MMSEARCH_MODEL` chose."""
    return encoders["default"]
