from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from catalog.deletion import items_of_ids
from embeddings.jobs import retry_failed


class Command(BaseCommand):
    help = "Embed failed items again: all of them, or those that are named."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("ids", nargs="*", metavar="ID", help="ids of items")

    def handle(self, *_args: Any, ids: list[str], **_options: Any) -> None:
        keys = dict(
            pair for items in items_of_ids(ids) for pair in items.values_list("item_id", "pk")
        )
        if unknown := [item_id for item_id in ids if item_id not in keys]:
            raise CommandError(f"There is no item {unknown[0]!r}. Nothing was tried again.")
        count = retry_failed(keys.values() if ids else None)
        self.stdout.write(self.style.SUCCESS(f"{count:,} failed items wait for another attempt."))
