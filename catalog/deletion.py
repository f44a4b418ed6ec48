"""Deleting many items, and which ones the demo brought."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import F, QuerySet, Value
from django.db.models.functions import Concat

from catalog.models import Item
from catalog.signals import items_deleting
from catalog.storage import delete_after_commit

BATCH: Final = 500
"""Items a transaction: other writers wait no longer than for one."""


def delete_items(items: QuerySet[Item]) -> Iterator[int]:
    """Delete items with all that is theirs; yields how many each batch deleted, once committed.

    Every batch is a transaction of its own, so that stopping in between leaves whole items. Files
    go after the commit.
    """
    last = 0
    while True:
        found, deleted = _delete_batch(items.filter(pk__gt=last))
        if not found:
            return
        last = found[-1]
        yield deleted


def _delete_batch(items: QuerySet[Item]) -> tuple[list[int], int]:
    """Delete the first items by primary key, past their own signals; returns which, and how many.

    Some of them may be gone by then.
    """
    with transaction.atomic():
        found = list(items.order_by("pk").values_list("pk", flat=True)[:BATCH])
        batch = hold_items(dict.fromkeys(found))
        names = Item.objects.filter(pk__in=batch).values_list("image", "preview")
        files = [name for pair in names for name in pair if name]
        if batch:
            items_deleting.send(Item, item_ids=batch)
            Item.tags.through.objects.filter(item__in=batch).delete()
            # `delete()` would load every item, and ask for each what the signal did for all.
            gone = Item.objects.filter(pk__in=batch)
            gone._raw_delete(gone.db)  # noqa: SLF001
        delete_after_commit(files)
    return found, len(batch)


def hold_items(pks: Iterable[int]) -> list[int]:
    """Hold items to the end of the transaction that deletes them; returns those there are.

    Nothing comes to refer to one meanwhile: it would be left when the item is gone. Before anything
    else of theirs is touched, so that all who write wait in the same order.
    """
    held = Item.objects.filter(pk__in=list(pks)).select_for_update().order_by("pk")
    return list(held.values_list("pk", flat=True))


def items_of_ids(
    item_ids: Iterable[str], among: QuerySet[Item] | None = None
) -> Iterator[QuerySet[Item]]:
    """The items with these ids, in query sets small enough for any database."""
    ids = iter(item_ids)
    while chunk := list(islice(ids, BATCH)):
        yield (Item.objects.all() if among is None else among).filter(item_id__in=chunk)


def demo_items() -> QuerySet[Item]:
    """What is left of the demo catalogue; an item of a demo's id with another picture is not."""
    with (settings.BASE_DIR / "demo" / "metadata.csv").open(newline="", encoding="utf-8") as file:
        ids = [row["id"] for row in csv.DictReader(file)]
    return Item.objects.filter(
        item_id__in=ids, original_filename=Concat(F("item_id"), Value(".webp"))
    )
