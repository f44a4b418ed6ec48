from __future__ import annotations

import sys
from itertools import chain
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from catalog.deletion import delete_items
from embeddings.management.interruption import INTERRUPTED, stoppable
from embeddings.management.progress import Progress, counted
from embeddings.management.selection import Selection


class Command(BaseCommand):
    help = (
        "Delete items, with their pictures and vectors. Several options together narrow the"
        " choice. Linked pictures stay where they are."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("ids", nargs="*", metavar="ID", help="ids of items")
        Selection.add_arguments(parser)
        parser.add_argument("--all", action="store_true", help="every item there is")
        parser.add_argument("--dry-run", action="store_true", help="only say how many")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["all"] == Selection.is_given(options):
            raise CommandError(
                "Say which items: ids, --ids-file, --category, --tag, --state, --demo; or --all,"
                " and nothing else."
            )
        selection = Selection(options)
        total = selection.count()
        if unknown := selection.unknown():
            self.stdout.write(unknown)
        if options["dry_run"] or not total:
            self.stdout.write(f"{counted(total, 'item')} would be deleted. Nothing was deleted.")
            return
        if not options["yes"] and not _agreed(total):
            raise CommandError("Nothing was deleted.")
        self._delete(selection, total)

    def _delete(self, selection: Selection, total: int) -> None:
        with stoppable() as stop, Progress(sys.stderr, total=total, what="items") as progress:
            try:
                batches = chain.from_iterable(map(delete_items, selection))
                for deleted in batches:
                    progress.advance(deleted)
                    if stop.is_set():
                        break
            except DatabaseError as exc:
                raise CommandError(
                    f"Stopped after {counted(progress.done, 'item')}: {exc}. Run the same command"
                    " again."
                ) from exc
        self.stdout.write(f"{counted(progress.done, 'item')} deleted.")
        if stop.is_set() and progress.done < total:
            self.stderr.write("Interrupted. Run the same command again to go on.")
            sys.exit(INTERRUPTED)


def _agreed(total: int) -> bool:
    try:
        answer = input(f"Delete {counted(total, 'item')} for good? [y/N] ")
    except EOFError:
        raise CommandError("Nobody is there to agree: add --yes. Nothing was deleted.") from None
    return answer.strip().lower() in {"y", "yes"}
