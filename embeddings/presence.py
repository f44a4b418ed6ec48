"""Which processes live, on any host: a row each, kept fresh by a heartbeat.

Those of this host (this data folder) also hold a file locked: the lock dies with its process, so
that a death here is noticed at once. Names and numbers of processes say nothing: containers share
them.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.db import DatabaseError, connections
from django.db.models import QuerySet
from django.db.models.functions import Now

from embeddings.models import EmbeddingSpace, LivingProcess

logger = logging.getLogger(__name__)

BEAT: Final = 3.0
"""Seconds between heartbeats."""
EXPIRY: Final = timedelta(seconds=15)
"""Without a heartbeat for so long, a process is taken for dead. By the database's clock."""

Role = LivingProcess.Role
_identity: tuple[str, int] | None = None
_lock = threading.Lock()


def process_id() -> str:
    """What this process is known by, on any host; no other one has or had it."""
    global _identity  # noqa: PLW0603  one per process is the point
    with _lock:
        if _identity is None:
            name = secrets.token_hex(8)
            draft = _folder() / f".{name}"
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT, 0o600)  # open to the very end
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            draft.rename(_folder() / name)  # nobody sees it unlocked
            _identity = name, descriptor
        return _identity[0]


def known_here() -> set[str]:
    """Processes of this host, by their ids, the dead ones among them until they are forgotten."""
    return {file.name for file in _folder().glob("[!.]*")}


def dead_here() -> set[str]:
    """Processes of this host that died, by their ids, until they are forgotten."""
    dead = set[str]()
    for file in _folder().glob("[!.]*"):
        try:
            with file.open("rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:  # it lives, was forgotten meanwhile, or is somebody else's
            continue
        dead.add(file.name)
    return dead


def forget(dead: Iterable[str]) -> None:
    """Know no more of dead processes of this host: nothing is theirs any longer."""
    for name in dead:
        LivingProcess.objects.filter(pk=name).delete()
        (_folder() / name).unlink(missing_ok=True)


def alive(*roles: Role) -> QuerySet[LivingProcess]:
    """The processes of these roles that live, on all hosts."""
    fresh = LivingProcess.objects.filter(role__in=roles, seen_at__gte=Now() - EXPIRY)
    return fresh.exclude(pk__in=dead_here())


def worker_is_alive() -> bool:
    """Whether any host has a worker."""
    return alive(Role.WORKING).exists()


def nothing_read() -> dict[str, int]:
    """The position of a process that reads no change log."""
    return {}


class Presence:
    """This process' row: written anew at each heartbeat, also where it was taken for dead."""

    def __init__(
        self, role: Role, *, reads_from: Callable[[], dict[str, int]] = nothing_read
    ) -> None:
        """`reads_from` tells from where on the process needs each space's change log."""
        self._role = role
        self._reads_from = reads_from
        self._lock = threading.Lock()
        self._says: dict[str, Any] = {"warm": None, "problem": ""}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def appear(self) -> None:
        """Say once that this process lives: true until it expires."""
        self._write()

    def begin(self) -> None:
        """Say that this process lives, and go on saying so."""
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
            LivingProcess.objects.filter(pk=process_id()).delete()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            self._try_to_write()
        connections.close_all()

    def _try_to_write(self) -> None:
        try:
            self._write()
            LivingProcess.objects.filter(seen_at__lt=Now() - 4 * EXPIRY).delete()
        except DatabaseError:
            logger.warning("The heartbeat could not be written; the next one tries again")
            connections.close_all()

    def _write(self) -> None:
        with self._lock:
            if self._ended.is_set():
                return
            says = {**self._says, "reads_from": self._reads_from(), "seen_at": Now()}
            who = {"role": self._role, "host": socket.gethostname()[:100], "pid": os.getpid()}
            LivingProcess.objects.update_or_create(
                pk=process_id(), defaults=says, create_defaults={**says, **who}
            )


def _folder() -> Path:
    folder: Path = settings.MMSEARCH_DATA_DIR / "processes"
    folder.mkdir(exist_ok=True)
    return folder


def _begin_anew() -> None:
    """In a forked child, which is another process: its parent's lock is not its own."""
    global _identity, _lock
    if _identity is not None:
        os.close(_identity[1])
    _identity, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_begin_anew)
