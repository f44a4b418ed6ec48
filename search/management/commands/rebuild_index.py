from __future__ import annotations

import sys
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from catalog.models import Item
from catalog.words import upkeep
from embeddings import jobs
from embeddings.management.progress import Progress
from embeddings.models import Embedding
from embeddings.spaces import SpaceError, live_spaces, require_active_space
from search.index import maintenance
from search.index.space_index import SpaceIndex, index_of


class Command(BaseCommand):
    help = (
        "Write the word index anew, and build the index of every kept space from the database,"
        " beside the live one, then swap."
    )

    def handle(self, *_args: Any, **_options: Any) -> None:
        started = time.perf_counter()
        try:
            require_active_space()
            with maintenance.the_only_one(on_wait=self._say_that_it_waits):
                self._rebuild_words()
                indexes = [index_of(space) for space in live_spaces()]
                for index in indexes:
                    self._rebuild(index)
        except SpaceError as exc:
            raise CommandError(str(exc)) from exc
        except KeyboardInterrupt:
            raise CommandError(
                "Stopped. Processes serve what was written; run it again for the rest.",
                returncode=130,
            ) from None
        elapsed = time.perf_counter() - started
        self.stdout.write(
            self.style.SUCCESS(
                f"Rebuilt in {elapsed:.1f} s: snapshots of {_counted(*indexes)} vectors written."
                " Running processes take them over within a second."
            )
        )

    def _say_that_it_waits(self) -> None:
        self.stdout.write("Another process is writing the index; waiting until it is done …")
        self.stdout.flush()

    def _rebuild_words(self) -> None:
        total = Item.objects.count()
        self.stdout.write(f"Reading the words of {total:,} items …")
        with Progress(sys.stderr, total=total, what="items") as progress:
            for count in upkeep.rebuild_index():
                progress.advance(count)

    def _rebuild(self, index: SpaceIndex) -> None:
        total = Embedding.objects.filter(space=index.space_id).count()
        self.stdout.write(f"Reading {total:,} vectors from the database …")
        with Progress(sys.stderr, total=total, what="vectors") as progress:
            unusable = index.rebuild(on_read=progress.advance)
        if unusable:
            count = jobs.re_embed(unusable)
            self.stdout.write(
                f"{count:,} items have a vector with NaN or infinity: embedded again."
            )
        self.stdout.write(
            f"Writing snapshots of {_counted(index)} vectors,"
            " about a minute for every hundred thousand …"
        )
        self.stdout.flush()
        written = maintenance.compact(index, force=True, threads=2)
        if written < len(index.replicas):
            raise CommandError(
                f"Only {written} of {len(index.replicas)} snapshots were written: another process"
                " wrote meanwhile. Run rebuild_index again."
            )


def _counted(*indexes: SpaceIndex) -> str:
    return " and ".join(
        f"{len(store):,} {modality.value}"
        for index in indexes
        for modality, store in index.stores.items()
    )
