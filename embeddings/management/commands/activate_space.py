from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from embeddings.management.switch_command import SwitchCommand
from embeddings.spaces import SpaceError, find_space
from embeddings.switching import refuse_incomplete


class Command(SwitchCommand):
    help = (
        "Let a space answer, in every process at once: each loads it first, then all switch. Of the"
        " space that answers already: call off a switch that is wished for."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("space", type=int, help="its number, see `manage.py spaces`")
        parser.add_argument(
            "--partial", action="store_true", help="also where it lacks items: they are not found"
        )

    def handle(self, *_args: Any, space: int, partial: bool, **_options: Any) -> None:
        try:
            found = find_space(space)
            if not partial:
                refuse_incomplete(found)
        except SpaceError as exc:
            raise CommandError(str(exc)) from exc
        self.switch_to(found, incomplete_too=partial)
