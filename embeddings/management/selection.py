"""Which items a command is about: the options that `delete_items` and `export_items` share."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from django.core.management.base import CommandError
from django.db.models import QuerySet

from catalog.deletion import demo_items, items_of_ids
from catalog.models import Item
from embeddings.management.progress import counted
from embeddings.states import ItemState, in_state

SHOWN: Final = 10
"""Ids without an item that are named."""


class Selection:
    """The items that all options allow; iterating gives them as one or more query sets.

    Raises CommandError where a file of ids cannot be read.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        items = demo_items() if options["demo"] else Item.objects.all()
        if options["category"] is not None:
            items = items.filter(category=options["category"])
        for tag in options["tag"]:
            tagged = Item.tags.through.objects.filter(tag__name=tag)
            items = items.filter(pk__in=tagged.values("item_id"))
        if options["state"] is not None:
            items = in_state(items, ItemState(options["state"]))
        self._items = items
        self._ids: dict[str, None] | None = None
        if options["ids"] or options["ids_file"]:
            self._ids = dict.fromkeys([*options["ids"], *_ids_of(options["ids_file"])])

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--ids-file", type=Path, metavar="FILE", help="ids, one a line")
        parser.add_argument("--category", help="items of this category")
        parser.add_argument(
            "--tag", action="append", default=[], help="items with this tag; again for more tags"
        )
        parser.add_argument(
            "--state", choices=[state.value for state in ItemState], help="items in this state"
        )
        parser.add_argument("--demo", action="store_true", help="items of the demo catalogue")

    @staticmethod
    def is_given(options: Mapping[str, Any]) -> bool:
        """Whether any option narrows the selection."""
        names = ("ids", "ids_file", "category", "tag", "state", "demo")
        return any(options[name] not in (None, [], False) for name in names)

    def __iter__(self) -> Iterator[QuerySet[Item]]:
        if self._ids is None:
            yield self._items
        else:
            yield from items_of_ids(self._ids, self._items)

    def count(self) -> int:
        return sum(items.count() for items in self)

    def unknown(self) -> str:
        """Which of the given ids no item has, as a line to print; empty where all are known."""
        ids = dict(self._ids or {})
        for items in items_of_ids(self._ids or ()):
            for item_id in items.values_list("item_id", flat=True):
                ids.pop(item_id, None)
        if not ids:
            return ""
        more = ", …" if len(ids) > SHOWN else ""
        return f"{counted(len(ids), 'id')} without an item: {', '.join([*ids][:SHOWN])}{more}"


def _ids_of(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise CommandError(f"--ids-file {path} cannot be read: {exc}.") from exc
    return [line.strip() for line in lines if line.strip()]
