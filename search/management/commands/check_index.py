from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from embeddings.encoders.base import EncoderError
from embeddings.spaces import SpaceError
from embeddings.states import counts
from search.index import maintenance
from search.index.space_index import current_index


class Command(BaseCommand):
    help = "Compare every vector of the index with the database. Exits with 1 where they differ."

    def handle(self, *_args: Any, **_options: Any) -> None:
        try:
            comparisons = maintenance.compare(current_index())
        except (SpaceError, EncoderError) as exc:
            raise CommandError(str(exc)) from exc
        for each in comparisons:
            differ = each.missing or each.surplus or each.different
            verdict = "DIFFER" if differ else "DAMAGED on disk" if each.damage else "agree"
            self.stdout.write(
                f"{each.modality.value}: {each.in_database:,} vectors in the database,"
                f" {each.in_index:,} in the index, {each.missing:,} missing,"
                f" {each.surplus:,} surplus, {each.different:,} different: they {verdict}."
            )
            for line in each.damage:
                self.stdout.write(f"  damaged: {line}")
        state = counts()
        self.stdout.write(
            f"items: {state.items:,}, of which {state.indexed:,} indexed,"
            f" {state.pending:,} pending, {state.failed:,} failed."
        )
        if not all(each.agrees for each in comparisons):
            damaged = any(each.damage for each in comparisons)
            what = "Files of the index are damaged" if damaged else "Index and database differ"
            raise CommandError(f"{what}. `manage.py rebuild_index` mends it.")
        self.stdout.write(self.style.SUCCESS("Database and index agree."))
