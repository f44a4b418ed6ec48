"""The words of items into rows, inside the transaction that changes the items."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Final, NamedTuple

from django.db import connection, transaction

from catalog.words.stems import is_word, stem
from catalog.words.tokens import terms_and_codes

BATCH: Final = 500
"""Items a statement."""
BREAK: Final = "¶"
"""Stands between two tags, and between item id and file name: no phrase goes across."""
MAX_LEARNT: Final = 200_000
_learnt: Final[set[str]] = set()
"""Words that this process wrote: it need not write them again. No word is ever taken away."""
FIELDS: Final = ("title", "caption", "tags", "category", "name", "codes")

_ITEMS: Final = (
    "SELECT id, title, caption, category, item_id, original_filename FROM catalog_item"
    " WHERE id IN ({keys})"
)
_TAGS: Final = (
    "SELECT t.item_id, g.name FROM catalog_item_tags t JOIN catalog_tag g ON g.id = t.tag_id"
    " WHERE t.item_id IN ({keys}) ORDER BY g.name"
)
_WRITE: Final = (
    f"INSERT INTO catalog_itemwords (item_id, {', '.join(FIELDS)})"  # noqa: S608  constants
    " VALUES {rows} ON CONFLICT (item_id) DO UPDATE SET"
    f" {', '.join(f'{field} = excluded.{field}' for field in FIELDS)}"
    f" WHERE ({', '.join(f'catalog_itemwords.{field}' for field in FIELDS)})"
    f" <> ({', '.join(f'excluded.{field}' for field in FIELDS)})"
)
"""One statement for all rows: FTS5 writes what it holds in memory at the end of every one."""
_ROW: Final = f"({', '.join(['%s'] * (len(FIELDS) + 1))})"
_LEARN: Final = (
    "INSERT INTO catalog_word (term, stem) VALUES (%s, %s) ON CONFLICT (term) DO NOTHING"
)


class Cells(NamedTuple):
    """What one item is found by, as `ItemWords` holds it."""

    title: str
    caption: str
    tags: str
    category: str
    name: str
    codes: str


def index_items(item_ids: Iterable[int]) -> None:
    """Write the words of these items (primary keys) as the database has them now."""
    ids = iter(item_ids)
    while batch := list(islice(ids, BATCH)):
        with transaction.atomic():
            write(words_of_items(batch))


def write(rows: Sequence[tuple[int, Cells]]) -> None:
    """Write rows of words, and learn the words that are new."""
    if not rows:
        return
    values = [value for key, cells in rows for value in (key, *cells)]
    said = (cell for _, cells in rows for cell in cells[:-1])
    new = set(" ".join(said).split()) - _learnt
    words = sorted(filter(is_word, new))  # in order: two writers wait alike
    with connection.cursor() as cursor:
        cursor.execute(_WRITE.format(rows=", ".join([_ROW] * len(rows))), values)
        if words:
            cursor.executemany(_LEARN, [(word, stem(word)) for word in words])
            transaction.on_commit(partial(_remember, words))


def _remember(words: Sequence[str]) -> None:
    if len(_learnt) > MAX_LEARNT:
        _learnt.clear()
    _learnt.update(words)


def forget_learnt() -> None:
    """Take no word for written before, as in a test's database."""
    _learnt.clear()


def words_of_items(item_ids: Sequence[int]) -> list[tuple[int, Cells]]:
    """What the items with these keys are to be found by; absent ones are left out."""
    keys = ", ".join(str(int(key)) for key in item_ids)
    tags: dict[int, list[str]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(_TAGS.format(keys=keys))
        for key, tag in cursor.fetchall():
            tags[key].append(tag)
        cursor.execute(_ITEMS.format(keys=keys))
        rows = cursor.fetchall()
    return [
        (
            key,
            cells_of(
                title=title,
                caption=caption,
                tags=tags[key],
                category=category,
                item_id=item_id,
                filename=filename,
            ),
        )
        for key, title, caption, category, item_id, filename in rows
    ]


def cells_of(
    *, title: str, caption: str, tags: Sequence[str], category: str, item_id: str, filename: str
) -> Cells:
    """The terms of an item's texts."""
    codes: list[str] = []

    def terms(text: str) -> str:
        found, more = terms_and_codes(text)
        codes.extend(more)
        return " ".join(found)

    own, said, of_kind = terms(title), terms(caption), terms(category)
    tag_terms = f" {BREAK} ".join(filter(None, map(terms, tags)))
    name = f" {BREAK} ".join(filter(None, map(terms, (item_id, filename))))
    return Cells(own, said, tag_terms, of_kind, name, " ".join(dict.fromkeys(codes)))
