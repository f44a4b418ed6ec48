"""The word index as a whole: filled, compared with the items, built anew."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from typing import Final

from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet

from catalog.models import Item, ItemWords
from catalog.words.full_text import full_text
from catalog.words.writing import BATCH, FIELDS, Cells, words_of_items, write

logger = logging.getLogger(__name__)

_LOGGED_EVERY: Final = 50_000
"""Items."""


@dataclasses.dataclass
class WordComparison:
    """The word index beside what the items say."""

    items: int = 0
    missing: int = 0
    surplus: int = 0
    different: int = 0
    sound: bool = True
    """Whether the database's full text index agrees with the rows of words."""

    @property
    def differs(self) -> bool:
        return bool(self.missing or self.surplus or self.different)

    @property
    def agrees(self) -> bool:
        return self.sound and not self.differs


def create_index(database: BaseDatabaseWrapper) -> None:
    """Make the full text index and fill it with the words of the items there are."""
    full_text(database).create()  # first: PostgreSQL indexes no table that was just written to
    for done, batch in enumerate(_batches(), 1):
        write(words_of_items(batch))
        if done * BATCH % _LOGGED_EVERY == 0:
            logger.info("Words of %d items indexed", done * BATCH)


def rebuild_index() -> Iterator[int]:
    """Write every item's words anew, where they differ; yields how many items a batch had."""
    _surplus().delete()
    for batch in _batches():
        with transaction.atomic():
            write(words_of_items(batch))
        yield len(batch)
    with transaction.atomic():
        full_text(connection).rebuild()


def compare() -> WordComparison:
    """Compare the rows of words with the items, and the full text index with the rows."""
    found = WordComparison()
    for batch in _batches():
        should = dict(words_of_items(batch))
        rows = ItemWords.objects.filter(item__in=batch).values_list("item_id", *FIELDS)
        present = {key: Cells(*cells) for key, *cells in rows}
        found.items += len(should)
        found.missing += len(should.keys() - present.keys())
        found.different += sum(present.get(key, cells) != cells for key, cells in should.items())
    found.surplus = _surplus().count()
    found.sound = full_text(connection).is_sound()
    return found


def _surplus() -> QuerySet[ItemWords]:
    return ItemWords.objects.exclude(item__in=Item.objects.order_by())


def _batches() -> Iterator[Sequence[int]]:
    """The keys of all items, ascending, a statement a batch."""
    last = 0
    keys = Item.objects.order_by("pk").values_list("pk", flat=True)
    while batch := list(keys.filter(pk__gt=last)[:BATCH]):
        last = batch[-1]
        yield batch
