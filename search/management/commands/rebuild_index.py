from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from embeddings.encoders.base import EncoderError
from embeddings.spaces import SpaceError
from search.index import maintenance
from search.index.space_index import current_index


class Command(BaseCommand):
    help = "Build the index anew from the database, beside the live one, then swap."

    def handle(self, *_args: Any, **_options: Any) -> None:
        started = time.perf_counter()
        try:
            index = current_index()
        except (SpaceError, EncoderError) as exc:
            raise CommandError(str(exc)) from exc
        self.stdout.write("Reading every vector from the database …")
        index.rebuild()
        self.stdout.write("Writing new snapshots …")
        maintenance.compact(index, force=True, threads=2)
        counted = ", ".join(
            f"{len(store):,} {modality.value}" for modality, store in index.stores.items()
        )
        elapsed = time.perf_counter() - started
        self.stdout.write(
            self.style.SUCCESS(
                f"Rebuilt in {elapsed:.1f} s: {counted} vectors. Running processes take it over"
                " within a second."
            )
        )
