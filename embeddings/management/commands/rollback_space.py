from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError

from embeddings.management.switch_command import SwitchCommand
from embeddings.spaces import SpaceError
from embeddings.switching import space_to_roll_back_to


class Command(SwitchCommand):
    help = (
        "Let the space answer again that did so before. It was fed all the time, so nothing added"
        " meanwhile is missing."
    )

    def handle(self, *_args: Any, **_options: Any) -> None:
        try:
            space = space_to_roll_back_to()
        except SpaceError as exc:
            raise CommandError(str(exc)) from exc
        self.switch_to(space)
