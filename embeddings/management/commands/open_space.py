from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from embeddings.encoders.base import EncoderError
from embeddings.opening import open_space


class Command(BaseCommand):
    help = "Make the space of MMSEARCH_MODEL the active one and enqueue what it lacks."

    def handle(self, *_args: Any, **_options: Any) -> None:
        try:
            self.stdout.write(str(open_space()))
        except EncoderError as exc:
            raise CommandError(str(exc)) from exc
