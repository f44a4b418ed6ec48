"""How fast a space is embedded, told on its row for whoever waits for it."""

from __future__ import annotations

import time
from collections import Counter
from typing import Final

from django.utils import timezone

from embeddings.models import EmbeddingSpace

EVERY: Final = 5.0
"""Seconds over which a pace is measured."""


class Pace:
    """Counts what one drain embeds for each space. The time that other spaces take counts too."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._done: Counter[int] = Counter()

    def count(self, space: EmbeddingSpace, items: int) -> None:
        """Count items as embedded; every few seconds tell how many a second they were."""
        self._done[space.pk] += items
        elapsed = time.monotonic() - self._since
        if elapsed > EVERY:
            for space_id, done in self._done.items():
                EmbeddingSpace.objects.filter(pk=space_id).update(
                    rate=done / elapsed, rate_at=timezone.now()
                )
            self._since += elapsed
            self._done.clear()
