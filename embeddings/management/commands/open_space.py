from __future__ import annotations

from argparse import ArgumentParser
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError

from embeddings import switching
from embeddings.encoders.base import EncoderError
from embeddings.management.interruption import stoppable
from embeddings.models import EmbeddingSpace
from embeddings.opening import open_space
from embeddings.overview import progress_of

LOOK: Final = 1.0
"""Seconds between looks at the progress."""


class Command(BaseCommand):
    help = (
        "Open the space of a model beside the one that answers. A running worker fills it; it takes"
        " over once it is complete, or when `activate_space` says so (MMSEARCH_SWITCH=manual)."
        " In an empty catalogue it answers at once."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "model",
            nargs="?",
            help="starter, a hub name, or a directory; MMSEARCH_MODEL where it is left out",
        )
        parser.add_argument(
            "--wait",
            action="store_true",
            help="until it is complete, and has taken over if it is to",
        )

    def handle(self, *_args: Any, model: str | None, wait: bool, **_options: Any) -> None:
        try:
            opening = open_space(model)
        except EncoderError as exc:
            raise CommandError(str(exc)) from exc
        self.stdout.write(str(opening))
        if wait and opening.space is not None:
            self._wait(opening.space)

    def _wait(self, space: EmbeddingSpace) -> None:
        said = ""
        with stoppable() as stop:
            while not stop.is_set():
                switching.advance()
                space.refresh_from_db()
                if space.state == EmbeddingSpace.State.RETIRED:
                    raise CommandError(f"Space {space.pk} was retired meanwhile.")
                is_done = space.complete_since is not None and not switching.is_wished(space)
                if is_done:
                    self.stdout.write(self.style.SUCCESS(f"Space {space.pk} is {space.state}."))
                    return
                line = self._line(space)
                if line != said:
                    self.stdout.write(line)
                    self.stdout.flush()
                    said = line
                stop.wait(LOOK)
        raise CommandError(
            f"Stopped waiting. Space {space.pk} goes on being built: `manage.py spaces`.",
            returncode=130,
        )

    def _line(self, space: EmbeddingSpace) -> str:
        if space.problem:
            return space.problem
        found = progress_of(space)
        if found.waiting:
            pace = f", {found.rate:.1f} a second" if found.rate else ""
            left = f", {found.time_left} left" if found.time_left else ""
            return f"{found.done:,} of {found.of:,} items{pace}{left}"
        wished = switching.outlook()
        return str(wished) if wished is not None else f"{found.done:,} of {found.of:,} items"
