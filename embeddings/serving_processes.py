"""Which processes answer searches: a row each, kept alive by a heartbeat."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from datetime import timedelta
from typing import Any, Final

from django.db import DatabaseError, connections
from django.db.models import QuerySet
from django.db.models.functions import Now

from embeddings.models import EmbeddingSpace, ServingProcess

logger = logging.getLogger(__name__)

BEAT: Final = 3.0
"""Seconds between heartbeats."""
EXPIRY: Final = timedelta(seconds=15)
"""Without a heartbeat for so long, a process is taken for dead. By the database's clock."""


def alive() -> QuerySet[ServingProcess]:
    """The processes whose heartbeat is fresh."""
    return ServingProcess.objects.filter(seen_at__gte=Now() - EXPIRY)


class Presence:
    """This process' row: written anew at each heartbeat, also where it was taken for dead."""

    def __init__(self) -> None:
        self._id = secrets.token_hex(8)
        self._lock = threading.Lock()
        self._says: dict[str, Any] = {"warm": None, "problem": ""}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def begin(self) -> None:
        """Say that this process answers, and go on saying so."""
        self._try_to_write()
        self._thread.start()

    def say(self, *, warm: EmbeddingSpace | None = None, problem: str = "") -> None:
        """Say which announced space could answer here, or why it cannot."""
        says = {"warm": warm, "problem": problem}
        if says != self._says:
            self._says = says
            self._write()

    def end(self) -> None:
        """Take the row away: nobody has to wait for it to expire."""
        self._ended.set()
        with self._lock:
            ServingProcess.objects.filter(pk=self._id).delete()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            self._try_to_write()
        connections.close_all()

    def _try_to_write(self) -> None:
        try:
            self._write()
            ServingProcess.objects.filter(seen_at__lt=Now() - 4 * EXPIRY).delete()
        except DatabaseError:
            logger.warning("The heartbeat could not be written; the next one tries again")
            connections.close_all()

    def _write(self) -> None:
        with self._lock:
            if self._ended.is_set():
                return
            ServingProcess.objects.update_or_create(
                pk=self._id,
                defaults={**self._says, "seen_at": Now()},
                create_defaults={
                    **self._says,
                    "seen_at": Now(),
                    "host": socket.gethostname()[:100],
                    "pid": os.getpid(),
                },
            )
