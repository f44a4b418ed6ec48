from __future__ import annotations

import argparse
import contextlib
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TextIO

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from catalog.ingest import (
    DEFAULT_BATCH_SIZE,
    Outcome,
    OutcomeKind,
    Source,
    SourceError,
    ingest,
    open_source,
)
from embeddings import states, worker
from embeddings.encoders.base import EncoderError
from embeddings.liveness import worker_is_alive
from embeddings.management.interruption import INTERRUPTED, stoppable, until
from embeddings.management.progress import Progress
from embeddings.opening import open_space
from embeddings.spaces import SpaceError, active_space

SHOWN_REJECTIONS: Final = 10
"""Rejected rows that are printed, and notes; the other rejections are for --errors."""
POLL_SECONDS: Final = 1.0
REJECTED, UNUSABLE = 1, 2
RUN_AGAIN: Final = "Run the same command again to go on where this stopped."


class Command(BaseCommand):
    help = (
        "Ingest a CSV file, a JSON file, or a folder of pictures. Items are known by their"
        " id: running again updates what differs and leaves the rest alone. Exits with 0 where all"
        " went well, 1 where rows were rejected, 2 where the source cannot be used."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "source", type=Path, help="CSV, JSON Lines, JSON array (each also as .gz), or a folder"
        )
        parser.add_argument(
            "--images", type=Path, metavar="DIR", help="folder of the pictures that the rows name"
        )
        parser.add_argument(
            "--link", action="store_true", help="leave pictures where they are, copy nothing"
        )
        parser.add_argument(
            "--batch-size",
            type=_positive,
            default=DEFAULT_BATCH_SIZE,
            metavar="N",
            help="rows a transaction (%(default)s)",
        )
        parser.add_argument(
            "--errors", type=Path, metavar="FILE", help="write rejected rows there as JSON Lines"
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="check everything, write nothing"
        )
        parser.add_argument(
            "--wait", action="store_true", help="return when all items are embedded"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        dry_run: bool = options["dry_run"]
        try:
            source = open_source(options["source"], images=options["images"], link=options["link"])
        except SourceError as exc:
            raise CommandError(str(exc), returncode=UNUSABLE) from exc
        with _errors_file(options["errors"]) as errors, stoppable() as stop:
            counts = self._ingest(source, errors, stop, options["batch_size"], dry_run=dry_run)
            failed = 0
            if options["wait"] and not dry_run and not stop.is_set():
                failed = self._wait(stop)
            if stop.is_set():
                self.stderr.write(f"Interrupted. {RUN_AGAIN}")
                sys.exit(INTERRUPTED)
        if counts[OutcomeKind.REJECTED] or failed:
            sys.exit(REJECTED)

    def _ingest(
        self,
        source: Source,
        errors: TextIO | None,
        stop: threading.Event,
        batch_size: int,
        *,
        dry_run: bool,
    ) -> Counter[OutcomeKind]:
        """Ingest, report, and count outcomes by kind."""
        counts: Counter[OutcomeKind] = Counter()
        notes = 0
        started = time.monotonic()
        self.stdout.write(f"Reading {source.description}")
        with Progress(sys.stderr, total=source.estimated, what="rows") as progress:
            try:
                outcomes = ingest(until(stop, source), batch_size=batch_size, dry_run=dry_run)
                for outcome in outcomes:
                    counts[outcome.kind] += 1
                    progress.advance()
                    if outcome.kind is OutcomeKind.REJECTED:
                        _report(outcome, counts[OutcomeKind.REJECTED], progress, errors)
                    if outcome.note:
                        notes += 1
                        _note(outcome, notes, progress)
            except (OSError, DatabaseError) as exc:
                raise CommandError(
                    f"Stopped after {counts.total():,} rows: {exc}. {RUN_AGAIN}",
                    returncode=UNUSABLE,
                ) from exc
        for notice in source.notices:
            self.stdout.write(notice)
        self.stdout.write(_summary(counts, time.monotonic() - started, dry_run=dry_run))
        return counts

    def _wait(self, stop: threading.Event) -> int:
        """Wait until nothing is pending, embedding here while no worker lives.

        Returns how many more items have failed.
        """
        before = states.counts()
        if not before.pending:
            self.stdout.write(f"Nothing waits: {before.indexed:,} items are indexed.")
            return 0
        try:
            with Progress(sys.stderr, total=before.pending, what="items embedded") as progress:
                while (waiting := states.waiting()) and not stop.is_set():
                    progress.advance(max(before.pending - waiting - progress.done, 0))
                    if worker_is_alive() or not _embed_here():
                        time.sleep(POLL_SECONDS)
        except (EncoderError, SpaceError) as exc:
            raise CommandError(f"The items are stored, but cannot be embedded: {exc}") from exc
        now = states.counts()
        failed = now.failed - before.failed
        self.stdout.write(
            f"{now.indexed:,} items are indexed, {now.pending:,} pending, {now.failed:,} failed."
        )
        return max(failed, 0)


def _embed_here() -> bool:
    """Embed for a moment; False where nothing could be done now."""
    if active_space() is None:
        open_space()
    until = time.monotonic() + POLL_SECONDS
    report = worker.drain(until=lambda: time.monotonic() > until)
    return bool(report.indexed or report.failed)


def _report(outcome: Outcome, number: int, progress: Progress, errors: TextIO | None) -> None:
    if errors is not None:
        row = {
            "line": outcome.line,
            "id": outcome.item_id or None,
            "field": outcome.field or None,
            "reason": outcome.reason,
        }
        errors.write(json.dumps(row, ensure_ascii=False) + "\n")
        errors.flush()
    if number <= SHOWN_REJECTIONS:
        progress.note(f"Rejected, line {outcome.line}: {outcome.reason}")
    elif number == SHOWN_REJECTIONS + 1 and errors is None:
        progress.note("More rows are rejected: --errors FILE lists them all.")


def _note(outcome: Outcome, number: int, progress: Progress) -> None:
    if number <= SHOWN_REJECTIONS:
        progress.note(f"Line {outcome.line}: {outcome.note}")
    elif number == SHOWN_REJECTIONS + 1:
        progress.note("More pictures have a name that claims another format.")


def _summary(counts: Counter[OutcomeKind], seconds: float, *, dry_run: bool) -> str:
    total = counts.total()
    parts = ", ".join(f"{counts[kind]:,} {kind.value}" for kind in OutcomeKind)
    rate = f" ({total / seconds:,.0f} a second)" if total and seconds else ""
    text = f"{total:,} rows in {seconds:.1f} s{rate}: {parts}."
    if dry_run:
        return f"{text} This was a dry run: nothing was written."
    if total and counts[OutcomeKind.UNCHANGED] == total:
        return f"{text} Nothing has changed."
    return text


@contextlib.contextmanager
def _errors_file(path: Path | None) -> Iterator[TextIO | None]:
    if path is None:
        yield None
        return
    try:
        stream = path.open("w", encoding="utf-8")
    except OSError as exc:
        raise CommandError(
            f"--errors {path} cannot be written: {exc}.", returncode=UNUSABLE
        ) from exc
    with stream:
        yield stream


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0.")
    return int(text)
