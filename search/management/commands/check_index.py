from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from catalog.models import Item
from catalog.words import upkeep
from catalog.words.upkeep import WordComparison
from embeddings.spaces import SpaceError, live_spaces, require_active_space
from embeddings.states import counts
from search.index import maintenance
from search.index.maintenance import Comparison
from search.index.space_index import index_of


class Command(BaseCommand):
    help = (
        "Compare every vector of the index with the database, in every space that is kept, and the"
        " word index with the items. Exits with 1 where they differ."
    )

    def handle(self, *_args: Any, **_options: Any) -> None:
        try:
            require_active_space()
        except SpaceError as exc:
            raise CommandError(str(exc)) from exc
        comparisons: list[Comparison] = []
        spaces = live_spaces()
        for space in spaces:
            if len(spaces) > 1:
                self.stdout.write(f"space {space.pk}, {space.state}, {space}:")
            found = maintenance.compare(index_of(space))
            self._tell(found)
            comparisons += found
        words = upkeep.compare()
        self._tell_of_words(words)
        state = counts()
        self.stdout.write(
            f"items: {state.items:,}, of which {state.indexed:,} indexed,"
            f" {state.pending:,} pending, {state.failed:,} failed."
        )
        if not (words.agrees and all(each.agrees for each in comparisons)):
            differs = not words.agrees or any(each.differs for each in comparisons)
            found_wrong = ["Index and database differ."] * differs
            found_wrong += ["Files of the index are damaged."] * any(
                each.damage for each in comparisons
            )
            raise CommandError(f"{' '.join(found_wrong)} `manage.py rebuild_index` mends it.")
        self.stdout.write(self.style.SUCCESS("Database and index agree."))

    def _tell_of_words(self, words: WordComparison) -> None:
        verdicts = ["DIFFER"] * words.differs
        verdicts += ["the full text index is DAMAGED"] * (not words.sound)
        self.stdout.write(
            f"words: {words.items:,} items in the database, {words.missing:,} missing,"
            f" {words.surplus:,} surplus, {words.different:,} different:"
            f" they {' and '.join(verdicts) or 'agree'}."
        )

    def _tell(self, comparisons: list[Comparison]) -> None:
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
