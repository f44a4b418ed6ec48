from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from embeddings.models import EmbeddingSpace
from embeddings.opening import retire_space
from embeddings.spaces import SpaceError


class Command(BaseCommand):
    help = "List the spaces, or delete the vectors of one that is not in use."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("space", nargs="?", type=int, help="number of the space to retire")

    def handle(self, *_args: Any, space: int | None, **_options: Any) -> None:
        if space is None:
            for each in EmbeddingSpace.objects.order_by("pk"):
                vectors = each.embeddings.count()
                self.stdout.write(f"{each.pk}  {each.state}  {each}  {vectors:,} vectors")
            return
        try:
            deleted = retire_space(EmbeddingSpace.objects.get(pk=space))
        except (EmbeddingSpace.DoesNotExist, SpaceError) as exc:
            raise CommandError(str(exc)) from exc
        self.stdout.write(self.style.SUCCESS(f"Retired: {deleted:,} vectors deleted."))
