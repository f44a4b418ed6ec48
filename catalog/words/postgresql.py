"""Full text on PostgreSQL: a GIN index over the terms of `ItemWords`.

The terms are cut already, so that none of PostgreSQL's dictionaries has a say. The index finds the
rows that hold all terms; sequences and single fields are then looked for in these rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from django.db.backends.base.base import BaseDatabaseWrapper

from catalog.words.full_text import BETWEEN_FIELDS, EDGE, Ids, Pattern
from catalog.words.writing import FIELDS

_TEXT: Final = " || ' ' || ".join(FIELDS)
_TERMS: Final = f"array_to_tsvector(array_remove(string_to_array({_TEXT}, ' '), ''))"
_MATCHING: Final = (
    # Apart, for the planner would else go through all rows in the order asked for.
    "SELECT item_id FROM (SELECT item_id FROM catalog_itemwords"  # noqa: S608  constants
    f" WHERE {_TERMS} @@ %s::tsquery{{also}} OFFSET 0) AS found ORDER BY item_id LIMIT %s"
)
_Value: TypeAlias = str | int | list[int] | None
_TEXTS: Final = (
    "SELECT array_agg(item_id ORDER BY item_id),"  # noqa: S608  constants
    f" string_agg({BETWEEN_FIELDS.join(FIELDS)}, ' {EDGE} ' ORDER BY item_id)"
    " FROM catalog_itemwords WHERE item_id = ANY(%s)"
)
_COUNT: Final = """
SELECT CASE WHEN reltuples < 10000 THEN (SELECT count(*) FROM catalog_itemwords) ELSE reltuples END
FROM pg_class WHERE oid = 'catalog_itemwords'::regclass
"""
"""Of many rows the planner's own estimate is near enough."""


class PostgresFullText:
    """See FullText. PostgreSQL itself keeps an index equal to its table, as long as it is there.

    One a query: it keeps the count of items that came with an answer.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._count: int | None = None

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
        rows = self._rows(*_matching(groups, fields, limit))
        return np.fromiter((key for (key,) in rows), dtype=np.int64)

    def matching_each(self, groups: Sequence[Sequence[Pattern]], *, limit: int) -> list[Ids]:
        """With the count, which is asked for next: one way to a server instead of several."""
        statements, values = [f"SELECT -1, ({_COUNT})::bigint"], list[_Value]()
        for place, group in enumerate(groups):
            statement, its_values = _matching([group], (), limit)
            statements.append(f"SELECT {place}, item_id FROM ({statement}) AS its")  # noqa: S608
            values += its_values
        found: list[list[int]] = [[] for _ in groups]
        for place, number in self._rows(" UNION ALL ".join(statements), values):
            if place < 0:
                self._count = number
            else:
                found[place].append(number)
        return [np.sort(np.array(keys, dtype=np.int64)) for keys in found]

    def texts(self, items: Ids) -> tuple[Ids, str]:
        ((keys, texts),) = self._rows(_TEXTS, [items.tolist()])
        return np.array(keys or [], dtype=np.int64), texts or ""

    def count(self) -> int:
        if self._count is None:
            ((count,),) = self._rows(_COUNT)
            self._count = int(count)
        return self._count

    def key_range(self) -> tuple[int, int]:
        ((first, last),) = self._rows(
            "SELECT COALESCE(min(item_id), 0), COALESCE(max(item_id), 0) FROM catalog_itemwords"
        )
        return first, last

    def _rows(self, statement: str, values: Sequence[_Value] = ()) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall())

    def _execute(self, statement: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)


def _matching(
    groups: Sequence[Sequence[Pattern]], fields: Sequence[str], limit: int | None
) -> tuple[str, list[_Value]]:
    """A statement and its values."""
    question = " & ".join(f"({' | '.join(map(_all_terms, group))})" for group in groups)
    values: list[_Value] = [question]
    also = ""
    if fields or any(len(pattern.terms) > 1 for group in groups for pattern in group):
        text = BETWEEN_FIELDS.join(fields or FIELDS)
        for group in groups:
            either = " OR ".join([f"strpos(' ' || {text} || ' ', %s) > 0"] * len(group))
            also += f" AND ({either})"
            values += map(_sequence, group)
    return _MATCHING.format(also=also), [*values, limit]


def _all_terms(pattern: Pattern) -> str:
    """What the index can say of a pattern; terms hold neither quotes nor backslashes."""
    *before, last = pattern.terms
    asked = [f"'{term}'" for term in before] + [f"'{last}'{':*' if pattern.prefix else ''}"]
    return f"({' & '.join(asked)})"


def _sequence(pattern: Pattern) -> str:
    return f" {' '.join(pattern.terms)}{'' if pattern.prefix else ' '}"
