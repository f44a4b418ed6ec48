from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from catalog.export import ExportError, export_items
from embeddings.management.interruption import INTERRUPTED, stoppable
from embeddings.management.progress import Progress, counted
from embeddings.management.selection import Selection

INCOMPLETE: Final = 1
SHOWN: Final = 10
"""Items without their picture that are named."""


class Command(BaseCommand):
    help = (
        "Write items into a file that ingest_dataset reads: all, or those that all options allow."
        " Exits with 0 where all went well, 1 where pictures were missing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help=".csv or .jsonl, or the same with .gz")
        parser.add_argument("ids", nargs="*", metavar="ID", help="ids of items")
        parser.add_argument(
            "--images", type=Path, metavar="DIR", help="copy the pictures into this folder"
        )
        Selection.add_arguments(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        selection = Selection(options)
        target, images = options["file"], options["images"]
        if images is None and settings.MMSEARCH_BUCKET:
            raise CommandError("The pictures are in a bucket: have them copied with --images DIR.")
        if unknown := selection.unknown():
            self.stdout.write(unknown)
        missing: list[str] = []
        with (
            stoppable() as stop,
            Progress(sys.stderr, total=selection.count(), what="items") as progress,
            closing(export_items(selection, target=target, images=images)) as export,
        ):
            try:
                for written in export:
                    progress.advance(written.items)
                    missing += written.without_picture
                    if stop.is_set():
                        self.stderr.write(f"Interrupted: {target} was not written.")
                        sys.exit(INTERRUPTED)
            except (ExportError, OSError, DatabaseError) as exc:
                raise CommandError(f"{exc} {target} was not written.") from exc
        self.stdout.write(f"{counted(progress.done, 'item')} written to {target}.")
        folder = images or settings.MEDIA_ROOT
        self.stdout.write(f"To read it: manage.py ingest_dataset {target} --images {folder}")
        for item_id in missing[:SHOWN]:
            self.stderr.write(f"The picture of {item_id!r} is missing: written without it.")
        if missing:
            self.stderr.write(f"{counted(len(missing), 'picture')} missing.")
            sys.exit(INCOMPLETE)
