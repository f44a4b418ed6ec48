from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from catalog.models import Item
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
            verdicts = ["DIFFER"] * each.differs + ["are DAMAGED on disk"] * bool(each.damage)
            verdict = " and ".join(verdicts) or "agree"
            self.stdout.write(
                f"{each.modality.value}: {each.in_database:,} vectors in the database,"
                f" {each.in_index:,} in the index, {each.missing:,} missing,"
                f" {each.surplus:,} surplus, {each.different:,} different: they {verdict}."
            )
            for item_id in Item.objects.filter(pk__in=each.unusable).values_list(
                "item_id", flat=True
            ):
                self.stdout.write(
                    f"  item {item_id}: its {each.modality.value} vector holds NaN or infinity"
                )
            for line in each.damage:
                self.stdout.write(f"  damaged: {line}")
        state = counts()
        self.stdout.write(
            f"items: {state.items:,}, of which {state.indexed:,} indexed,"
            f" {state.pending:,} pending, {state.failed:,} failed."
        )
        if not all(each.agrees for each in comparisons):
            found = ["Index and database differ."] * any(each.differs for each in comparisons)
            found += ["Files of the index are damaged."] * any(each.damage for each in comparisons)
            raise CommandError(f"{' '.join(found)} `manage.py rebuild_index` mends it.")
        self.stdout.write(self.style.SUCCESS("Database and index agree."))
