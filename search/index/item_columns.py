"""What filters and facets ask of every item, in arrays: category, tags, parts, age.

One per process, following the catalogue's change log as the index follows that of vectors. A
state of it is immutable: whatever is derived from one is right for as long as it is the newest.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

import numpy as np
from django.core.signals import setting_changed
from django.db.models import Max
from numpy.typing import NDArray

from catalog.models import Item, ItemChange, Tag
from embeddings.encoders.base import Modality
from embeddings.parts import PARTS
from search.index.stores.base import Ids, IdSet

BATCH: Final = 500
"""Keys a statement."""
OVERLAP: Final = 1_000
"""Lines before the end of the log that are read once more after a load: transactions that were
under way may commit lines that the log has gone past."""
GAP_PATIENCE: Final = 30.0
"""Seconds that a number missing in the log may still come: then its transaction was rolled back."""
LOG_LINES: Final = 100_000
"""Lines kept of the log; a process that is further behind reads all items anew."""
KEPT_SETS: Final = 64
"""Answers to filters that a state remembers."""

Mask = NDArray[np.bool_]
"""bool (n,): one for each item, in the order of `ids`."""


@dataclasses.dataclass(frozen=True, eq=False)
class ItemColumns:
    """One state of the catalogue."""

    ids: Ids
    """Primary keys, ascending."""
    categories: NDArray[np.int32]
    """Place of each item's category in `names.categories`."""
    parts: NDArray[np.uint8]
    """A bit for each part that the item has, in the order of `PARTS`."""
    created: NDArray[np.float64]
    """Seconds since 1970."""
    tagged: Ids
    """For each tag on an item the item's key, ascending,"""
    tags: NDArray[np.int64]
    """and the tag's key."""
    names: Names
    _sets: dict[object, IdSet | None] = dataclasses.field(default_factory=dict)

    @classmethod
    def read(cls, names: Names, keys: Sequence[int] | None = None) -> ItemColumns:
        """The items with these keys, or all, as the database has them now."""
        items, through = Item.objects.order_by("pk"), Item.tags.through.objects.order_by("item_id")
        if keys is not None:
            items, through = items.filter(pk__in=keys), through.filter(item__in=keys)
        has = (part.hash_field for part in PARTS.values())
        rows = items.values_list("pk", "category", "created_at", *has)
        pairs = through.values_list("item_id", "tag_id")
        read = [
            (pk, names.category(category), created.timestamp(), _bits(has))
            for pk, category, created, *has in rows.iterator()
        ]
        on_items = np.array(list(pairs.iterator()), dtype=np.int64).reshape(-1, 2)
        names.learn_tags(on_items[:, 1])
        return cls(
            ids=np.array([row[0] for row in read], dtype=np.int64),
            categories=np.array([row[1] for row in read], dtype=np.int32),
            created=np.array([row[2] for row in read], dtype=np.float64),
            parts=np.array([row[3] for row in read], dtype=np.uint8),
            tagged=on_items[:, 0],
            tags=on_items[:, 1],
            names=names,
        )

    def replaced(self, keys: Ids) -> ItemColumns:
        """The state in which the items with these keys are as the database has them now."""
        kept, kept_tags = ~np.isin(self.ids, keys), ~np.isin(self.tagged, keys)
        parts = [ItemColumns.read(self.names, chunk) for chunk in _chunks(keys.tolist())]

        def joined(column: str, kept: Mask) -> Any:
            return np.concatenate(
                [getattr(self, column)[kept], *(getattr(part, column) for part in parts)]
            )

        ids, tagged = joined("ids", kept), joined("tagged", kept_tags)
        order, tag_order = np.argsort(ids, kind="stable"), np.argsort(tagged, kind="stable")
        return ItemColumns(
            ids=ids[order],
            categories=joined("categories", kept)[order],
            created=joined("created", kept)[order],
            parts=joined("parts", kept)[order],
            tagged=tagged[tag_order],
            tags=joined("tags", kept_tags)[tag_order],
            names=self.names,
        )

    def id_set(self, key: object, choose: Callable[[], Mask]) -> IdSet:
        """The items that `choose` marks, worked out once for every `key`."""
        found = self._sets.get(key)
        if found is None:
            found = IdSet(self.ids[choose()])
            for oldest in list(islice(self._sets, max(len(self._sets) + 1 - KEPT_SETS, 0))):
                self._sets.pop(oldest, None)
            self._sets[key] = found
        return found

    def in_categories(self, names: Iterable[str]) -> Mask:
        """Items of one of the categories."""
        known = [self.names.categories[name] for name in names if name in self.names.categories]
        return np.isin(self.categories, known)

    def with_tag(self, name: str) -> Mask:
        found = np.zeros(self.ids.size, dtype=np.bool_)
        for key in Tag.objects.filter(name=name).values_list("pk", flat=True):
            found[self.rows_of(self.tagged[self.tags == key])] = True
        return found

    def with_part(self, part: Modality) -> Mask:
        bit = np.uint8(1 << list(PARTS).index(part))
        return np.asarray(self.parts & bit > 0)

    def rows_of(self, ids: Ids) -> NDArray[np.int64]:
        """Row of each of `ids`, all of which are here."""
        return np.searchsorted(self.ids, ids)

    def counted_categories(self, ids: Ids) -> dict[str, int]:
        """How many of these items each category has. `ids` ascending; unknown ones do not count."""
        known = ids[np.isin(ids, self.ids)]
        counts = np.bincount(self.categories[self.rows_of(known)])
        names = self.names.category_names
        return {names[code]: int(counts[code]) for code in np.flatnonzero(counts) if names[code]}

    def counted_tags(self, ids: Ids) -> dict[str, int]:
        """The same of tags."""
        first = np.searchsorted(self.tagged, ids)
        count = np.searchsorted(self.tagged, ids, side="right") - first
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        keys, counts = np.unique(self.tags[np.repeat(first, count) + within], return_counts=True)
        return {self.names.tags[key]: int(n) for key, n in zip(keys.tolist(), counts, strict=True)}


@dataclasses.dataclass(eq=False)
class Names:
    """Names of categories and tags, learned as they come; nothing is forgotten."""

    categories: dict[str, int] = dataclasses.field(default_factory=dict)
    category_names: list[str] = dataclasses.field(default_factory=list)
    tags: dict[int, str] = dataclasses.field(default_factory=dict)
    """By primary key."""

    def category(self, name: str) -> int:
        """Place of a category."""
        place = self.categories.get(name)
        if place is None:
            place = len(self.category_names)
            self.category_names.append(name)
            self.categories[name] = place
        return place

    def learn_tags(self, keys: NDArray[np.int64]) -> None:
        """Learn the present names of these tags."""
        for chunk in _chunks(np.unique(keys).tolist()):
            self.tags.update(Tag.objects.filter(pk__in=chunk).values_list("pk", "name"))


class _Follower:
    """The newest state, and how far in the log it is. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._columns: ItemColumns | None = None
        self._position = 0
        """Line up to which everything is in the state."""
        self._seen: set[int] = set()
        """Lines after it that are in the state too; what is missing between may still come."""
        self._gap_since = 0.0

    def synced(self) -> ItemColumns:
        """The state of the catalogue as it is committed now."""
        with self._lock:
            columns = self._columns
            lines = ItemChange.objects.filter(seq__gte=self._position).order_by("seq")
            log = [] if columns is None else list(lines.values_list("seq", "item"))
            expected = max(self._position, 1)
            pruned = log[0][0] != expected if log else self._position > 0
            if columns is None or pruned:
                self._seen.clear()
                self._position = _position_to_load_from()
                columns = ItemColumns.read(Names())
            else:
                news = {seq: item for seq, item in log if seq not in self._seen}
                news.pop(self._position, None)
                if news:
                    keys = np.unique(np.fromiter(news.values(), dtype=np.int64))
                    columns = columns.replaced(keys)
                    self._seen.update(news)
                self._advance()
            self._columns = columns
            return columns

    def _advance(self) -> None:
        """Move the position past what is seen, and past numbers that come no more."""
        while self._seen:
            follows = self._position + 1
            if follows not in self._seen:
                if not self._gap_since:
                    self._gap_since = time.monotonic()
                if time.monotonic() - self._gap_since < GAP_PATIENCE:
                    return
                follows = min(self._seen)
            self._gap_since = 0.0
            self._seen.remove(follows)
            self._position = follows


_follower = _Follower()


def synced_columns() -> ItemColumns:
    """The catalogue's columns, level with the database."""
    return _follower.synced()


def reset_columns() -> None:
    """Forget the columns; the next use reads them anew."""
    global _follower  # noqa: PLW0603  one per process is the point
    _follower = _Follower()


def prune_log() -> int:
    """Delete the oldest lines of the log but LOG_LINES; returns how many."""
    last = ItemChange.objects.aggregate(last=Max("seq"))["last"] or 0
    old = ItemChange.objects.filter(seq__lte=last - LOG_LINES)
    pruned = 0
    while keys := list(old.values_list("seq", flat=True)[:BATCH]):
        pruned += ItemChange.objects.filter(seq__in=keys).delete()[0]
    return pruned


def _position_to_load_from() -> int:
    lines = ItemChange.objects.order_by("-seq").values_list("seq", flat=True)[:OVERLAP]
    return min(lines, default=0)


def _bits(has: Iterable[str]) -> int:
    return sum(bool(each) << place for place, each in enumerate(has))


def _chunks(keys: Sequence[int]) -> Iterator[Sequence[int]]:
    return (keys[start : start + BATCH] for start in range(0, len(keys), BATCH))


def _reset_on_change(*, setting: str, **_: Any) -> None:
    if setting.startswith(("MMSEARCH_", "DATABASES")):
        reset_columns()


setting_changed.connect(_reset_on_change, dispatch_uid="search.reset_columns")
