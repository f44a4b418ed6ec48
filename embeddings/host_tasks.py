"""Where a worker's tasks come from: the queue that all hosts share, and what a host sees itself.

A nudge in the shared queue starts work at once, on one host. That is not enough: the work may be
more than one host's, and a nudge may be lost with the queue. So every host looks into the database,
too, and does by the clock what concerns its own data folder. A queue that fails stops no worker.
"""

from __future__ import annotations

import logging
import secrets
import time
from typing import Any, Final, TypeAlias

from django.db import DatabaseError, connections
from django.utils import timezone
from django_q.brokers import Broker
from django_q.signing import SignedPackage

from embeddings import jobs, one_a_host, schedules
from embeddings.spaces import live_spaces

logger = logging.getLogger(__name__)

LOOK: Final = 1.0
"""Seconds between looks at what waits; doubled as long as nothing comes of them,"""
LONGEST_PAUSE: Final = 60.0
"""up to so many."""
FIRST_ROUND: Final = 20.0
"""Seconds from the start to the first round of what is done each minute."""
RETRY: Final = 1.0
"""Seconds before a queue that failed is asked again."""

Tasks: TypeAlias = "list[tuple[Any, Any]] | None"
"""Signed tasks, each with what acknowledges it."""


class HostTasks:
    """Stands for the broker in the one process that fetches this host's tasks."""

    def __init__(self, shared: Broker) -> None:
        self.list_key: str = shared.list_key
        self._shared = shared
        self._own = OwnWork()
        self._fails = False

    def dequeue(self) -> Tasks:
        """What is to be done now; None after a while where nothing is."""
        try:
            if due := self._own.due():
                return [(None, _packed(function)) for function in due]
            tasks: Tasks = self._shared.dequeue()
        except Exception as exc:  # noqa: BLE001  of either queue's driver, or the database's
            if not self._fails:
                logger.warning("No tasks can be fetched: %s. Trying again and again", exc)
            if isinstance(exc, DatabaseError):
                connections.close_all()
            self._fails = True
            time.sleep(RETRY)
            return None
        if self._fails:
            logger.info("Tasks can be fetched again")
        self._fails = False
        return tasks

    def fail(self, task_id: Any) -> None:
        """Give up a task that cannot be read."""
        self._shared.fail(task_id)


class OwnWork:
    """What this host has to do, whether or not anybody says so."""

    def __init__(self) -> None:
        now = time.monotonic()
        self._look_at = now
        self._pause = LOOK
        self._round_at = now + FIRST_ROUND

    def due(self) -> list[str]:
        """Functions to be run now. Raises DatabaseError."""
        now = time.monotonic()
        due: list[str] = []
        if now >= self._round_at:
            self._round_at = now + 60
            due += schedules.on_each_host()
        if now >= self._look_at:
            if one_a_host.is_taken("embedding") or not jobs.is_waiting(live_spaces()):
                self._pause = LOOK
            else:
                due.append(jobs.EMBED_PENDING)
                self._pause = min(2 * self._pause, LONGEST_PAUSE)
            self._look_at = now + self._pause
        return due


def _packed(function: str) -> Any:
    name = f"{function.rpartition('.')[2]} of this host"
    return SignedPackage.dumps(
        {
            "id": secrets.token_hex(16),
            "name": name,
            "func": function,
            "args": (),
            "kwargs": {},
            "started": timezone.now(),
            "save": False,
            "ack_failure": True,
            **({"timeout": jobs.EMBED_TIMEOUT} if function == jobs.EMBED_PENDING else {}),
        }
    )
