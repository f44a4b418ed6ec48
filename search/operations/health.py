"""Whether this process is fit to answer."""

from __future__ import annotations

import dataclasses
import shutil
import threading
from typing import Final

from django.conf import settings
from django.db import DatabaseError, connection

from embeddings.encoders.base import EncoderError
from embeddings.models import EmbeddingSpace
from embeddings.per_space import PerSpace
from embeddings.query_vectors import warm_up
from embeddings.spaces import SpaceError, active_space
from search.index.space_index import active_index

OK: Final = "ok"
LOADING: Final = "loading"
LEAST_FREE: Final = 64 * 2**20
"""Bytes; a database and an index that cannot be written soon answer nothing new."""

_loading = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Readiness:
    """Whether searches can be answered, and what each part says: `ok`, or what it waits for."""

    parts: dict[str, str]

    @property
    def ready(self) -> bool:
        return all(state == OK for state in self.parts.values())


def readiness() -> Readiness:
    """Look at database, model and index.

    Loads what is not loaded yet. That may take long, so only one caller waits for it; the others
    are told that it is loading, and how much of the index is read.
    """
    database = _database()
    if database != OK:
        return Readiness({"database": database, "model": "not asked", "index": "not asked"})
    parts = {"database": database, "model": _model(), "index": _index()}
    free = shutil.disk_usage(settings.MMSEARCH_DATA_DIR).free
    if free < LEAST_FREE:
        parts["disk"] = f"Only {free / 2**20:,.0f} MiB are free on the disk of the data folder."
    return Readiness(parts)


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as exc:
        return f"The database does not answer: {exc}"
    return OK


def _model() -> str:
    space = active_space()
    if space is None or _answered.known(space.pk):
        return OK
    if not _loading.acquire(blocking=False):
        return LOADING
    try:
        _answered.of(space)
    except EncoderError as exc:
        return str(exc)
    finally:
        _loading.release()
    return OK


def _answer(space: EmbeddingSpace) -> bool:
    warm_up(space)
    return True


_answered: PerSpace[bool] = PerSpace(_answer)
"""The spaces whose encoder has encoded something in this process."""


def _index() -> str:
    """Whether every commit so far can be searched."""
    try:
        index = active_index()
        end, _ = index.log_end()
        index.sync()
    except (SpaceError, EncoderError) as exc:
        return str(exc)
    behind = end - index.position
    return OK if behind <= 0 else f"{behind:,} changes behind"
