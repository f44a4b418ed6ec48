"""Commands that let another space answer, and wait until it does."""

from __future__ import annotations

from typing import Final

from django.core.management.base import BaseCommand, CommandError

from embeddings import switching
from embeddings.management.interruption import INTERRUPTED, stoppable
from embeddings.models import EmbeddingSpace

LOOK: Final = 0.2
"""Seconds between looks at how the switch stands."""


class SwitchCommand(BaseCommand):
    """Wishes for a switch and follows it; any serving process makes it, or this one."""

    def switch_to(self, space: EmbeddingSpace, *, incomplete_too: bool = False) -> None:
        """Raises CommandError where it is called off, or somebody stops waiting."""
        switching.wish(space, incomplete_too=incomplete_too)
        said = ""
        with stoppable() as stop:
            while not stop.is_set():
                switching.advance()
                wished = switching.outlook()
                if wished is None or wished.target != space:
                    self._tell_end(space)
                    return
                if (line := f"{wished}") != said:
                    self.stdout.write(line)
                    self.stdout.flush()
                    said = line
                stop.wait(LOOK)
        raise CommandError(
            "Stopped waiting; the switch goes on. `manage.py activate_space NUMBER` with the number"
            " of the space that answers calls it off.",
            returncode=INTERRUPTED,
        )

    def _tell_end(self, space: EmbeddingSpace) -> None:
        space.refresh_from_db()
        if space.state != EmbeddingSpace.State.ACTIVE:
            raise CommandError(
                f"The switch to space {space.pk} was called off meanwhile. `manage.py spaces` says"
                " how things stand."
            )
        self.stdout.write(self.style.SUCCESS(f"Space {space.pk}, {space}, answers now."))
