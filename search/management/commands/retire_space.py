from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from embeddings.management.interruption import INTERRUPTED, stoppable
from embeddings.management.progress import Progress
from embeddings.models import EmbeddingSpace
from embeddings.retiring import count_rows, free, retire_space
from embeddings.spaces import SpaceError
from search.index.maintenance import delete_index


class Command(BaseCommand):
    help = (
        "Give a space up: delete its vectors, the files of its index, and its prepared model where"
        " no other space has it. What was stopped goes on in the worker, or with the same command."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("space", type=int, help="its number, see `manage.py spaces`")

    def handle(self, *_args: Any, space: int, **_options: Any) -> None:
        found = EmbeddingSpace.objects.filter(pk=space).first()
        if found is None:
            raise CommandError(f"There is no space {space}. `manage.py spaces` lists them.")
        try:
            retire_space(found)
        except SpaceError as exc:
            raise CommandError(str(exc)) from exc
        with (
            stoppable() as stop,
            Progress(sys.stderr, total=count_rows(found), what="rows") as progress,
        ):
            for deleted in free(found):
                progress.advance(deleted)
                if stop.is_set():
                    break
        if stop.is_set():
            raise CommandError(
                f"Stopped after {progress.done:,} rows. Space {space} is retired; the worker"
                " deletes the rest within minutes.",
                returncode=INTERRUPTED,
            )
        delete_index(found)
        self.stdout.write(
            self.style.SUCCESS(f"Space {space} is retired: {progress.done:,} rows deleted.")
        )
