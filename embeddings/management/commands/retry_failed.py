from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from embeddings.jobs import retry_failed


class Command(BaseCommand):
    help = "Embed failed items again: all of them, or those that are named."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("items", nargs="*", type=int, help="numbers of the items")

    def handle(self, *_args: Any, items: list[int], **_options: Any) -> None:
        count = retry_failed(items or None)
        self.stdout.write(self.style.SUCCESS(f"{count:,} failed items wait for another attempt."))
