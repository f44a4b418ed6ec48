"""`make run`: one process that starts the web server and the worker and answers for both.

They start together and end together: a child that dies is started again a few times, and where
that does not help everything stops. Each can be had alone, beside the other over the same data
folder: `python -m mmsearch_project web` and `worker`, which is how containers run them. The
supervisor itself stays small: it loads neither Django's apps nor a model.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from django.core.exceptions import ImproperlyConfigured

from mmsearch_project import address, demo
from mmsearch_project.address import AddressError
from mmsearch_project.data_folder import Role, StartError, hold_data_dir
from mmsearch_project.processes import Child, describe_status, follow_parent

BASE_DIR: Final = Path(__file__).resolve().parent.parent
POLL: Final = 0.1
"""Seconds between looks at the children."""
FOR_CHILDREN: Final = {
    # A helper of OpenBLAS spins for some 20 ms after each product of matrices: at a few searches a
    # second it keeps a whole core from everybody else.
    "OPENBLAS_NUM_THREADS": "1",
    # Dozens of threads, of which the interpreter lets one run, would keep heaps of their own.
    "MALLOC_ARENA_MAX": "2",
    "TOKENIZERS_PARALLELISM": "false",  # else it warns after every fork
}
"""Environment that libraries of the children read, where it does not say otherwise."""
PATIENCE: Final = 30.0
"""Seconds that children have to finish what is in hand when asked to stop."""
RESTART_PAUSES: Final = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each new start of a child that keeps dying; after the last we give up."""
STEADY: Final = 60.0
"""Seconds: a child that lived longer is forgiven its earlier deaths."""
DOUBLE_CLICK: Final = 1.0
"""Seconds: a shell or `make` may pass the same signal on twice; that is one wish to stop."""


class Supervisor:
    """Starts the children, keeps them running, stops them."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        data_dir: Path,
        listener: socket.socket | None,
        names: Sequence[str] = (),
        web_processes: int = 1,
        with_worker: bool = True,
    ) -> None:
        """`names` are what other machines may call the server; without any, none are told.

        Without a `listener` there is no web server.
        """
        self.host = host
        self.names = names
        self.port = port
        self.url = address.url(host, port)
        self.data_dir = data_dir
        self.listener = listener
        python = sys.executable
        self.preparation = Child("preparation", [python, "-m", "mmsearch_project.preparation"])
        self.web = (
            []
            if listener is None
            else [
                Child(
                    f"web server {number}" if web_processes > 1 else "web server",
                    [python, "-m", "mmsearch_project.web", str(listener.fileno())],
                    inherited=(listener.fileno(),),
                )
                for number in range(1, web_processes + 1)
            ]
        )
        self.worker = Child("worker", [python, "-m", "mmsearch_project.cluster"])
        self.lasting = [*self.web, *([self.worker] if with_worker else [])]
        """What runs until the end, and is started again where it dies."""
        self.demo = Child("demo catalogue", [python, "-m", "mmsearch_project.demo"])
        self.asked_at: float | None = None
        self.impatient = False
        self.ready = False
        self.restarts: dict[str, float] = {}

    @property
    def children(self) -> tuple[Child, ...]:
        return (self.preparation, *self.lasting, self.demo)

    def run(self) -> int:
        """Prepare, serve until asked to stop, stop; returns the exit status."""
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(signum, self._ask_to_stop)
        try:
            status = self._prepare()
            if status == 0 and self.asked_at is None:
                status = self._serve()
        finally:
            clean = self._stop()
        return status if clean else status or 1

    def _ask_to_stop(self, signum: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.asked_at is None:
            self.asked_at = now
        elif signum == signal.SIGINT and now - self.asked_at > DOUBLE_CLICK:
            self.impatient = True

    def _prepare(self) -> int:
        self.preparation.start()
        while self.preparation.runs() and self.asked_at is None:
            time.sleep(POLL)
        return 0 if self.asked_at is not None else self.preparation.status() or 0

    def _serve(self) -> int:
        if self.listener is not None:
            address.listen(self.listener, self.host, self.port)
        for child in self.lasting:
            child.start()
        self._begin()
        while self.asked_at is None:
            for child in self.lasting:
                if not child.runs() and not self._revive(child):
                    return 1
            self._follow_demo()
            self._announce()
            time.sleep(POLL)
        return 0

    def _begin(self) -> None:
        """Say what starts, and load the demo catalogue where that is wanted."""
        if self.listener is None:
            say("The worker is starting (Ctrl-C stops)")
            return
        if demo.is_wanted(self.data_dir):
            say("The demo catalogue is being loaded; the page works meanwhile.")
            self.demo.start()
        say(f"Starting on {self.url} (Ctrl-C stops)")
        if self.names:
            say(
                f"It answers to: {', '.join(self.names)}."
                " Other names are refused; add one: MMSEARCH_ALLOWED_HOSTS=its.name make run"
            )

    def _revive(self, child: Child) -> bool:
        """Start a dead child again after its pause; False where that has been tried enough."""
        now = time.monotonic()
        if child.name not in self.restarts:
            if now - child.started > STEADY:
                child.deaths = 0
            ending = f"The {child.name} {describe_status(child.status() or 0)}"
            if child.deaths == len(RESTART_PAUSES):
                complain(f"{ending} again and again: giving up. The lines above say why.")
                return False
            pause = RESTART_PAUSES[child.deaths]
            child.deaths += 1
            complain(f"{ending}: starting it again in {pause:g} s.")
            self.restarts[child.name] = now + pause
        elif now >= self.restarts[child.name]:
            del self.restarts[child.name]
            child.start()
        return True

    def _follow_demo(self) -> None:
        status = self.demo.status()
        if status is None:
            return
        self.demo.process = None
        if status in (0, 1):  # all well, or some rows rejected
            say("The demo catalogue is loaded.")
        else:
            complain(
                f"Loading the demo catalogue {describe_status(status)}; the next start goes on."
            )

    def _announce(self) -> None:
        """Say once that searches are answered."""
        if self.listener is not None and not self.ready and is_ready(self.url):
            self.ready = True
            say(f"Ready: {self.url}")

    def _stop(self) -> bool:
        """End the children; False where one had to be killed."""
        running = [child for child in self.children if child.runs()]
        if running:
            say("Stopping; what is in hand is finished first (Ctrl-C again: at once).")
        for child in running:
            child.terminate()
        deadline = time.monotonic() + PATIENCE
        while any(child.runs() for child in running):
            if self.impatient or time.monotonic() > deadline:
                for child in running:
                    child.kill()
                return False
            time.sleep(POLL)
        return True


def is_ready(url: str) -> bool:
    """Whether the server at `url` answers that it is ready."""
    try:
        with urllib.request.urlopen(f"{url}readyz", timeout=1) as response:  # noqa: S310  http
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def empty_folder(folder: Path) -> Path:
    """The folder, made if absent, emptied of what an earlier start left."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def say(line: str) -> None:
    """Print for the operator, at once."""
    print(line, flush=True)  # noqa: T201  this is a program's output


def complain(line: str) -> None:
    """Print one line of trouble."""
    print(f"mmsearch: {line}", file=sys.stderr, flush=True)  # noqa: T201


def main(arguments: list[str]) -> int:
    """Run the roles that are named, or both, until stopped.

    `--with-parent` also stops when the parent process dies.
    """
    named = [argument for argument in arguments if argument != "--with-parent"]
    if unknown := sorted(set(named) - set(Role)):
        complain(f"{unknown[0]!r} is neither web nor worker.")
        return 1
    roles = [Role(name) for name in named] or list(Role)
    if "--with-parent" in arguments:
        follow_parent(os.getppid(), signal.SIGTERM)
    os.chdir(BASE_DIR)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mmsearch_project.settings")
    for name, value in FOR_CHILDREN.items():
        os.environ.setdefault(name, value)
    try:
        from mmsearch_project import settings

        with contextlib.ExitStack() as held:
            for role in roles:
                held.enter_context(hold_data_dir(settings.MMSEARCH_DATA_DIR, role))
            listener = None
            if Role.WEB in roles:
                if settings.WEB_CONCURRENCY > 1:  # the processes add up their metrics here
                    metrics = empty_folder(settings.MMSEARCH_DATA_DIR / "metrics")
                    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
                listener = held.enter_context(address.bind(settings.HOST, settings.PORT))
            return Supervisor(
                host=settings.HOST,
                port=settings.PORT,
                data_dir=settings.MMSEARCH_DATA_DIR,
                listener=listener,
                names=settings.ALLOWED_HOSTS if settings.MMSEARCH_EXPOSED_BY else (),
                web_processes=settings.WEB_CONCURRENCY,
                with_worker=Role.WORKER in roles,
            ).run()
    except (ImproperlyConfigured, AddressError, StartError) as exc:
        complain(str(exc))
        return 1
    except KeyboardInterrupt:
        return 0
