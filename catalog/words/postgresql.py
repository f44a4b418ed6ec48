"""Full text on PostgreSQL: a GIN index over the terms of `ItemWords`.

The terms are cut already, so that none of PostgreSQL's dictionaries has a say. The index finds the
rows that hold all terms; sequences and single fields are then looked for in these rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from django.db.backends.base.base import BaseDatabaseWrapper

from catalog.words.full_text import Ids, Pattern
from catalog.words.writing import FIELDS

_TEXT: Final = " || ' ' || ".join(FIELDS)
_TERMS: Final = f"array_to_tsvector(array_remove(string_to_array({_TEXT}, ' '), ''))"
_MATCHING: Final = (
    # Apart, for the planner would else go through all rows in the order asked for.
    "SELECT item_id FROM (SELECT item_id FROM catalog_itemwords"  # noqa: S608  constants
    f" WHERE {_TERMS} @@ %s::tsquery{{also}} OFFSET 0) AS found ORDER BY item_id LIMIT %s"
)
_COUNT: Final = """
SELECT CASE WHEN reltuples < 10000 THEN (SELECT count(*) FROM catalog_itemwords) ELSE reltuples END
FROM pg_class WHERE oid = 'catalog_itemwords'::regclass
"""
"""Of many rows the planner's own estimate is near enough."""


class PostgresFullText:
    """See FullText. PostgreSQL itself keeps an index equal to its table, as long as it is there."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection

    def create(self) -> None:
        self._execute(f"CREATE INDEX catalog_words ON catalog_itemwords USING gin ({_TERMS})")

    def drop(self) -> None:
        self._execute("DROP INDEX catalog_words")

    def rebuild(self) -> None:
        if self.is_sound():
            self._execute("REINDEX INDEX catalog_words")
        else:
            self._execute("DROP INDEX IF EXISTS catalog_words")
            self.create()

    def is_sound(self) -> bool:
        with self._connection.cursor() as cursor:
            cursor.execute(
                "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('catalog_words')"
            )
            return bool(cursor.fetchone() == (True,))

    def matching(
        self,
        groups: Sequence[Sequence[Pattern]],
        *,
        fields: Sequence[str] = (),
        limit: int | None = None,
    ) -> Ids:
        question = " & ".join(f"({' | '.join(map(_all_terms, group))})" for group in groups)
        values: list[str | int | None] = [question]
        also = ""
        if fields or any(len(pattern.terms) > 1 for group in groups for pattern in group):
            text = " || ' | ' || ".join(fields or FIELDS)
            for group in groups:
                either = " OR ".join([f"strpos(' ' || {text} || ' ', %s) > 0"] * len(group))
                also += f" AND ({either})"
                values += map(_sequence, group)
        with self._connection.cursor() as cursor:
            cursor.execute(_MATCHING.format(also=also), [*values, limit])
            return np.fromiter((key for (key,) in cursor.fetchall()), dtype=np.int64)

    def count(self) -> int:
        with self._connection.cursor() as cursor:
            cursor.execute(_COUNT)
            (count,) = cursor.fetchone()
        return int(count)

    def key_range(self) -> tuple[int, int]:
        with self._connection.cursor() as cursor:
            cursor.execute(
                "SELECT COALESCE(min(item_id), 0), COALESCE(max(item_id), 0) FROM catalog_itemwords"
            )
            first, last = cursor.fetchone()
        return first, last

    def _execute(self, statement: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)


def _all_terms(pattern: Pattern) -> str:
    """What the index can say of a pattern; terms hold neither quotes nor backslashes."""
    *before, last = pattern.terms
    asked = [f"'{term}'" for term in before] + [f"'{last}'{':*' if pattern.prefix else ''}"]
    return f"({' & '.join(asked)})"


def _sequence(pattern: Pattern) -> str:
    return f" {' '.join(pattern.terms)}{'' if pattern.prefix else ' '}"
