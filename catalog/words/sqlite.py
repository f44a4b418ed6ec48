"""Full text on SQLite: an FTS5 table whose content is `ItemWords`, kept equal by triggers.

The triggers copy terms that are cut already; the table's tokenizer only splits at spaces. They
also fire where rows are deleted by a cascade or a test's flush.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from catalog.words.full_text import BETWEEN_FIELDS, EDGE, Ids, Pattern
from catalog.words.writing import FIELDS

_COLUMNS: Final = ", ".join(FIELDS)
_NEW: Final = ", ".join(f"new.{field}" for field in FIELDS)
_OLD: Final = ", ".join(f"old.{field}" for field in FIELDS)
_ADD: Final = f"INSERT INTO catalog_words (rowid, {_COLUMNS}) VALUES (new.item_id, {_NEW});"  # noqa: S608  constants
_REMOVE: Final = (
    f"INSERT INTO catalog_words (catalog_words, rowid, {_COLUMNS})"  # noqa: S608  constants
    f" VALUES ('delete', old.item_id, {_OLD});"
)
_TABLE: Final = (
    f"CREATE VIRTUAL TABLE catalog_words USING fts5({_COLUMNS},"
    " content='catalog_itemwords', content_rowid='item_id', tokenize='ascii')"
)
_TRIGGERS: Final = {
    "catalog_words_insert": f"AFTER INSERT ON catalog_itemwords BEGIN {_ADD} END",
    "catalog_words_delete": f"AFTER DELETE ON catalog_itemwords BEGIN {_REMOVE} END",
    "catalog_words_update": f"AFTER UPDATE ON catalog_itemwords BEGIN {_REMOVE} {_ADD} END",
}
# What is many rows comes as one value: the interpreter's lock is let go of and fought for again at
# every row and at every value of it.
_MATCHING: Final = (
    "SELECT group_concat(rowid, ' ') FROM"
    " (SELECT rowid FROM catalog_words WHERE catalog_words MATCH %s LIMIT %s)"
)
_TEXTS: Final = (
    f"SELECT group_concat(item_id, ' '), group_concat({BETWEEN_FIELDS.join(FIELDS)}, ' {EDGE} ')"  # noqa: S608  constants and keys
    " FROM (SELECT * FROM catalog_itemwords WHERE item_id IN ({keys}) ORDER BY item_id)"
)
_AVERAGES: Final = "SELECT block FROM catalog_words_data WHERE id = 1"
"""FTS5 keeps the number of rows there, as the first of some variable-length integers."""


class SqliteFullText:
    """See FullText."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection

    def create(self) -> None:
        self._execute(_TABLE)
        self._execute(*(f"CREATE TRIGGER {name} {what}" for name, what in _TRIGGERS.items()))
        self.rebuild()

    def drop(self) -> None:
        self._execute(*(f"DROP TRIGGER {name}" for name in _TRIGGERS), "DROP TABLE catalog_words")

    def rebuild(self) -> None:
        self._execute("INSERT INTO catalog_words (catalog_words) VALUES ('rebuild')")

    def is_sound(self) -> bool:
        check = "INSERT INTO catalog_words (catalog_words, rank) VALUES ('integrity-check', 1)"
        try:
            with transaction.atomic(using=self._connection.alias):
                self._execute(check)
        except DatabaseError:
            return False
        return True

    def matching(
        self,
        groups: Sequence[Sequence[Pattern]],
        *,
        fields: Sequence[str] = (),
        limit: int | None = None,
    ) -> Ids:
        question = " AND ".join(f"({' OR '.join(map(_quoted, group))})" for group in groups)
        if fields:
            question = f"{{{' '.join(fields)}}} : ({question})"
        with self._connection.cursor() as cursor:
            cursor.execute(_MATCHING, [question, -1 if limit is None else limit])
            return _keys(cursor.fetchone()[0])

    def matching_each(self, groups: Sequence[Sequence[Pattern]], *, limit: int) -> list[Ids]:
        return [self.matching([group], limit=limit) for group in groups]

    def texts(self, items: Ids) -> tuple[Ids, str]:
        with self._connection.cursor() as cursor:
            cursor.execute(_TEXTS.format(keys=", ".join(map(str, items.tolist()))))
            keys, texts = cursor.fetchone()
        return _keys(keys), texts or ""

    def count(self) -> int:
        with self._connection.cursor() as cursor:
            cursor.execute(_AVERAGES)
            return _first_varint(bytes(cursor.fetchone()[0]))

    def key_range(self) -> tuple[int, int]:
        # Two statements, each one step at an end of the index.
        with self._connection.cursor() as cursor:
            cursor.execute("SELECT COALESCE(MIN(item_id), 0) FROM catalog_itemwords")
            (first,) = cursor.fetchone()
            cursor.execute("SELECT COALESCE(MAX(item_id), 0) FROM catalog_itemwords")
            (last,) = cursor.fetchone()
        return first, last

    def _execute(self, *statements: str) -> None:
        with self._connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


def _quoted(pattern: Pattern) -> str:
    """A phrase of FTS5's language; terms hold neither quotes nor null characters."""
    return f'"{" ".join(pattern.terms)}"{" *" if pattern.prefix else ""}'


def _keys(written: str | None) -> Ids:
    """Keys with spaces between them; None is none."""
    return np.fromstring(written or "", dtype=np.int64, sep=" ")


def _first_varint(block: bytes) -> int:
    """SQLite's variable-length integer: seven bits a byte, the highest bit says that more come."""
    value = 0
    for byte in block[:8]:
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            break
    return value
