"""`kill -9` under load, again and again: nothing that was accepted may be lost or come twice.

    python -m benchmarks crash [--kills 100] [--output DIR]

Clients add, edit and delete and keep a ledger. In turn the web server, the worker, the
whole tree with its supervisor, and a child of each are killed. At the end the ledger is compared
with what a user can see. The log of the kills stays in DIR/performance/crash.txt.
"""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from typing import Final

import psutil

from benchmarks.clients import Ledger, Writer
from benchmarks.invariants import Check, verify
from benchmarks.processes import kill
from benchmarks.servers import Ours

VICTIMS: Final = ("web", "worker", "everything", "web child", "worker child")
WRITERS: Final = 3
LONGEST: Final = 2.0
"""Seconds of load before a kill, at most: kills come at every stage of the work."""


def run_crash(*, kills: int, output: Path, say: Callable[[str], None]) -> bool:
    """Kill so many times; whether nothing was lost. Raises BenchmarkError where it stays away."""
    log = output / "performance" / "crash.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)

    def tell(line: str) -> None:
        say(line)
        with log.open("a", encoding="utf-8") as stream:
            stream.write(f"{line}\n")

    ledger, over = Ledger(), threading.Event()
    with (
        tempfile.TemporaryDirectory(prefix="mmsearch-crash-") as folder,
        Ours(Path(folder)) as ours,
    ):
        ours.start()
        tell(f"{kills} kills under the load of {WRITERS} clients")
        writers = [Writer(ours, f"client{n}", ledger, seed=n) for n in range(WRITERS)]
        with ThreadPoolExecutor(WRITERS) as pool:
            writing = [pool.submit(_write, writer, over) for writer in writers]
            try:
                for number, victim in enumerate(islice(cycle(VICTIMS), kills), 1):
                    tell(f"{number:>4} {_kill(ours, ledger, victim, random.Random(number))}")
            finally:
                over.set()  # each finishes what it has under way
        checks = verify(ours, ledger, writers)
        if any(check.wrong for check in checks):
            say(ours.tail())
    refused = [str(each.exception()) for each in writing if each.exception()]
    checks.append(Check("no request was refused", "; ".join(refused)))
    tell(f"{ledger.accepted_count:,} operations accepted, {len(ledger.possible):,} items")
    for check in checks:
        tell(f"{'WRONG' if check.wrong else 'holds'}: {check.what}. {check.wrong}".rstrip())
    return not any(check.wrong for check in checks)


def _write(writer: Writer, over: threading.Event) -> None:
    while not over.is_set():
        writer.step()


def _kill(ours: Ours, ledger: Ledger, victim: str, source: random.Random) -> str:
    """Let the clients work a moment, kill, wait until something is accepted again."""
    time.sleep(source.uniform(0, LONGEST))
    ours.wait(lambda: _is_whole(ours), "web server and worker", patience=120)
    before = ledger.accepted_count
    if victim == "everything":
        targets = ours.processes()
    else:
        role, _, child = victim.partition(" ")
        everyone = ours.roles()[role]
        targets = [source.choice(everyone[1:] or everyone)] if child else everyone[:1]
    killed = time.monotonic()
    kill(targets)
    if victim == "everything":
        psutil.wait_procs(targets, timeout=10)
        ours.stop()
        ours.start()
    ours.wait(ours.is_ready, f"an answer after {victim} was killed", patience=120)
    at_kill = ledger.accepted_count
    ours.wait(lambda: ledger.accepted_count > at_kill, "an accepted request", patience=120)
    return (
        f"{victim} ({len(targets)} processes): working again after"
        f" {time.monotonic() - killed:.1f} s, {before:,} operations accepted before"
    )


def _is_whole(ours: Ours) -> bool:
    """Whether all that an earlier kill ended is there again."""
    roles = ours.roles()
    return bool(roles["web"]) and len(roles["worker"]) > 4  # its helpers and one that embeds
