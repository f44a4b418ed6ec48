from __future__ import annotations

import argparse
import contextlib
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
    OutcomeKind,
    Source,
    SourceError,
    open_folder,
    open_source,
)
from catalog.ingest.pruning import PruneRefused
from embeddings import states, worker
from embeddings.encoders.base import EncoderError
from embeddings.management.ingestion import Ingestion, watch
from embeddings.management.interruption import INTERRUPTED, stoppable
from embeddings.management.progress import Progress
from embeddings.opening import open_space
from embeddings.presence import worker_is_alive
from embeddings.spaces import SpaceError, active_space

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
            "--prune",
            action="store_true",
            help="delete items that came from this source and have vanished from it",
        )
        parser.add_argument(
            "--force",
            action="store_true",
            help="prune even where rows were rejected, or most items have vanished",
        )
        parser.add_argument(
            "--watch", action="store_true", help="follow a folder of pictures until Ctrl-C"
        )
        parser.add_argument(
            "--wait", action="store_true", help="return when all items are embedded"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        path, dry_run = options["source"], options["dry_run"]
        _refuse_contradictions(options)
        try:
            if options["watch"]:
                source = None
                folder = open_folder(path, link=options["link"])
            else:
                source = open_source(path, images=options["images"], link=options["link"])
        except SourceError as exc:
            raise CommandError(str(exc), returncode=UNUSABLE) from exc
        with _errors_file(options["errors"]) as errors, stoppable() as stop:
            ingestion = Ingestion(
                path=path,
                errors=errors,
                stop=stop,
                batch_size=options["batch_size"],
                dry_run=dry_run,
                prune=options["prune"],
                force=options["force"],
                say=self.stdout.write,
            )
            if source is None:
                watch(ingestion, folder)
                return
            counts = self._ingest(ingestion, source)
            failed = 0
            if options["wait"] and not dry_run and not stop.is_set():
                failed = self._wait(stop)
            if stop.is_set():
                self.stderr.write(f"Interrupted. {RUN_AGAIN}")
                sys.exit(INTERRUPTED)
        if counts[OutcomeKind.REJECTED] or failed:
            sys.exit(REJECTED)

    def _ingest(self, ingestion: Ingestion, source: Source) -> Counter[OutcomeKind]:
        """Ingest, report, prune, and count outcomes by kind."""
        self.stdout.write(f"Reading {source.description}")
        try:
            counts = ingestion.run(source, estimated=source.estimated, notices=source.notices)
            if ingestion.prune and not ingestion.stop.is_set():
                ingestion.prune_vanished(ingestion.present, rejected=counts[OutcomeKind.REJECTED])
        except (OSError, DatabaseError) as exc:
            raise CommandError(
                f"Stopped after {ingestion.done:,} rows: {exc}. {RUN_AGAIN}", returncode=UNUSABLE
            ) from exc
        except PruneRefused as exc:
            raise CommandError(str(exc), returncode=UNUSABLE) from exc
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


def _refuse_contradictions(options: dict[str, Any]) -> None:
    if options["force"] and not options["prune"]:
        raise CommandError("--force is about --prune: give both, or neither.", returncode=UNUSABLE)
    for name in ("dry_run", "wait", "images"):
        if options["watch"] and options[name]:
            raise CommandError(
                f"--watch goes on until Ctrl-C: leave out --{name.replace('_', '-')}.",
                returncode=UNUSABLE,
            )


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
