"""The worker: one django-q2 cluster whose processes live and die together.

django-q2 replaces a worker process that dies by itself. But its processes share queues whose
locks a killed process never gives back, so that the replacement may wait for ever; and killed from
above they linger as orphans. Here a sudden death ends the whole cluster, which starts afresh.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import time
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Final

import django
from django_q import cluster
from django_q.pusher import pusher

from embeddings import stopping  # before the forks, which share what it holds
from mmsearch_project.processes import follow_parent

NICENESS: Final = 10
"""Searching goes before embedding; other programs of the machine find one like themselves."""
LONGEST_PAUSE: Final = 30.0
"""Seconds before a new start, at most; the pause doubles with each quick death."""
QUICK: Final = 60.0
"""Seconds: a cluster that lived longer starts the pauses anew."""

logger = logging.getLogger(__name__)
_pid = os.getpid()


def _die_with_parent() -> None:
    """Runs in every forked process of the cluster."""
    global _pid
    parent, _pid = _pid, os.getpid()
    follow_parent(parent, signal.SIGKILL)


class Sentinel(cluster.Sentinel):  # type: ignore[misc]  # django_q has no types
    """Guards the cluster; ends with it where a process dies out of turn."""

    def start(self) -> None:
        """Begin, whether or not the queue answers: the host's own tasks do not come from there."""
        self.spawn_cluster()
        self.guard()

    def spawn_pusher(self) -> BaseProcess:
        """Start the process that fetches tasks, from the queue and of the host itself."""
        from embeddings.host_tasks import HostTasks

        source = HostTasks(self.broker)
        process: BaseProcess = self.spawn_process(pusher, self.task_queue, self.event_out, source)
        return process

    def reincarnate(self, process: BaseProcess) -> None:
        """Replace a worker that timed out (0) or was recycled (-2); end after any other death."""
        timer = getattr(process, "timer", None)
        if timer is not None and int(timer.value) in (0, -2):
            super().reincarnate(process)
            return
        logger.critical("Process %s of the worker died: the worker starts afresh", process.pid)
        os._exit(1)


class Cluster(cluster.Cluster):  # type: ignore[misc]  # django_q has no types
    """Remembers that it was asked to stop."""

    stopping = False

    def sig_handler(self, signum: int, frame: FrameType | None) -> None:
        self.stopping = True
        stopping.stop()
        super().sig_handler(signum, frame)


def _ensure_schedules() -> None:
    """Rows that somebody deleted come back; a database that cannot be written waits for that."""
    from django.db import DatabaseError, connections

    from embeddings import schedules

    try:
        schedules.ensure()
    except DatabaseError:
        logger.exception("The schedules could not be checked; the next start tries again")
    finally:
        connections.close_all()  # no connection crosses a fork


def main() -> int:
    """Run clusters until asked to stop. Raises RuntimeError where one cannot even start."""
    os.nice(NICENESS)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mmsearch_project.settings")
    django.setup()
    from catalog.resources import log_resources

    log_resources("start of the worker")
    _ensure_schedules()
    os.register_at_fork(after_in_child=_die_with_parent)
    cluster.Sentinel = Sentinel  # the name that Cluster.start() looks up
    # A collection writes to every object it visits, and a page that a forked process writes to is
    # no longer shared: what exists by now stays out of all collections.
    gc.collect()
    gc.freeze()
    pause = 1.0
    while True:
        started = time.monotonic()
        current = Cluster()
        current.start()
        current.sentinel.join()
        pause = 1.0 if time.monotonic() - started > QUICK else min(pause * 2, LONGEST_PAUSE)
        again = time.monotonic() + pause
        while time.monotonic() < again:
            if current.stopping:
                return 0
            time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
