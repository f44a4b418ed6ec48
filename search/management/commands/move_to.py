from __future__ import annotations

import importlib.util
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from embeddings.management.interruption import INTERRUPTED
from embeddings.management.progress import Progress

if TYPE_CHECKING:
    from search.moving.move import Move

RUN_AGAIN = "The same command goes on from here; the catalogue itself is as it was."


class Command(BaseCommand):
    help = (
        "Copy this SQLite catalogue into an empty PostgreSQL database, compare the two, and say how"
        " to start there. Pictures stay where they are. A move that was cut short goes on with the"
        " same command."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "database_url", metavar="DATABASE_URL", help="postgresql://user:password@host/name"
        )

    def handle(self, *_args: Any, database_url: str, **_options: Any) -> None:
        if not database_url.startswith(("postgresql://", "postgres://")):
            raise CommandError("Name the database as postgresql://user:password@host/name.")
        if importlib.util.find_spec("psycopg") is None:
            raise CommandError("Install `.venv/bin/pip install -r requirements-scale.txt` first.")
        import psycopg

        from search.moving.move import Move, held_source
        from search.moving.target import MoveError, Target

        started = time.perf_counter()
        try:
            with held_source(), Target(database_url) as target:
                self._move(Move(target))
        except MoveError as exc:
            raise CommandError(str(exc)) from exc
        except psycopg.Error as exc:
            raise CommandError(f"PostgreSQL: {exc}. {RUN_AGAIN}") from exc
        except KeyboardInterrupt:
            raise CommandError(f"Stopped. {RUN_AGAIN}", returncode=INTERRUPTED) from None
        elapsed = time.perf_counter() - started
        self.stdout.write(
            self.style.SUCCESS(f"Moved in {elapsed:.1f} s: both databases hold the same.")
        )
        self.stdout.write(
            "From now on start with MMSEARCH_DATABASE_URL set to this address, and with the same"
            " data folder:\nits pictures, models and index go on serving. What is written to the"
            " SQLite file from now on is lost."
        )

    def _move(self, move: Move) -> None:
        self._say(f"Copying {move.rows:,} rows of {len(move.tables)} tables …")
        move.begin()
        self._count(move.copy(), move.rows, "rows copied")
        if move.anew:
            self._say("The catalogue had changed since the move began: all was copied anew.")
        elif move.kept:
            self._say(f"{move.kept:,} rows were there from before.")
        self._say("Reading them back and comparing …")
        self._count(move.verify(), move.rows, "rows compared")
        move.complete()

    def _count(self, steps: Iterable[int], total: int, what: str) -> None:
        with Progress(sys.stderr, total=total, what=what) as progress:
            for count in steps:
                progress.advance(count)

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
