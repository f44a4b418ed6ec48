"""Two hosts under load, then without each of their parts: `python -m tests.hosts --store milvus`.

Needs what `make test-scale` needs. Prints tables in Markdown; exits with 1 where something is not
as `docs/scale.md` claims.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.processes import end_on_signals
from tests.hosts.dying import Death, deaths
from tests.hosts.pair import Pair
from tests.hosts.working import Work, median_ms, work

QUIET: float = 20.0
"""Seconds that clients search while nothing else happens."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hosts", description=__doc__)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--store", default="faiss", choices=["faiss", "pgvector", "milvus"])
    options = parser.parse_args()
    with (
        end_on_signals(),
        tempfile.TemporaryDirectory(prefix="mmsearch-hosts-") as folder,
        Pair(Path(folder), store=options.store) as pair,
    ):
        done = work(pair, options.items)
        say(_of_work(done, median_ms(pair.hosts[:1], QUIET), median_ms(pair.hosts, QUIET)))
        say(
            "| killed for 5 s | searches elsewhere | pictures sent and looked at"
            " | answered again | embedded again | wrong |"
        )
        say("| --- | --- | --- | --- | --- | --- |")
        died = []
        for death in deaths(pair):
            died.append(death)
            say(_of_death(death))
    well = not done.wrong and done.least_share >= 0.4 and done.slowest_found_s <= 1
    return 0 if well and all(each.allowed and not each.wrong for each in died) else 1


def _of_work(done: Work, alone_ms: float, both_ms: float) -> str:
    rows = {
        "items loaded from both hosts, embedded": f"{done.items:,} in {done.seconds:.0f} s",
        "split of the work": " : ".join(f"{n / sum(done.split):.0%}" for n in done.split),
        "searches meanwhile, by status": str(done.statuses),
        "search p50 of 8 clients while loading": f"{done.p50_loading_ms:.0f} ms",
        "quiet, one host asked": f"{alone_ms:.1f} ms",
        "quiet, both asked": f"{both_ms:.1f} ms",
        "found on the other host, slowest": f"{done.slowest_found_s:.2f} s after it was indexed",
        "in the database": str(done.bytes_an_item) + " bytes an item",
        "wrong": "; ".join(done.wrong) or "nothing",
    }
    return "\n".join(f"| {what} | {value} |" for what, value in rows.items()) + "\n"


def _of_death(death: Death) -> str:
    said = " ".join(death.reasons[:1])
    wrong = "; ".join(death.wrong) or "nothing"
    times = f"{death.answered_s:.1f} s | {death.embedded_s:.1f} s"
    searches, pictures = _counted(death.searches), _counted(death.pictures)
    return f"| {death.part} | {searches} {said} | {pictures} | {times} | {wrong} |"


def _counted(statuses: dict[int, int]) -> str:
    return ", ".join(f"{count:,} × {status}" for status, count in sorted(statuses.items()))


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201  a program's output


if __name__ == "__main__":
    sys.exit(main())
