"""Rows of both databases in one form, so that a digest says whether they are equal."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

Row: TypeAlias = tuple[Any, ...]


def _moment(value: datetime) -> datetime:
    """SQLite keeps moments without their zone, which is always UTC."""
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _json(value: Any) -> str:
    """PostgreSQL keeps documents, not their text."""
    document = json.loads(value) if isinstance(value, str) else value
    return json.dumps(document, sort_keys=True, ensure_ascii=False)


_FORMS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "timestamp with time zone": _moment,
    "jsonb": _json,
    "bytea": bytes,
}
"""By PostgreSQL's name of a column's type; any other is the same in both databases."""


@dataclasses.dataclass(frozen=True, slots=True)
class Content:
    """How many rows there are, and a digest of them in the order of their keys."""

    rows: int
    digest: str


class Form:
    """The form of a table's rows, by the types of its columns."""

    def __init__(self, types: Sequence[str]) -> None:
        self._forms = [(at, _FORMS[name]) for at, name in enumerate(types) if name in _FORMS]

    def __call__(self, row: Sequence[Any]) -> Row:
        cells = list(row)
        for at, form in self._forms:
            if cells[at] is not None:
                cells[at] = form(cells[at])
        return tuple(cells)


class Digest:
    """The content of the rows that it was given."""

    def __init__(self) -> None:
        self._rows = 0
        self._hash = hashlib.sha256()

    def add(self, row: Row) -> None:
        """Count one more row, in its form."""
        self._rows += 1
        self._hash.update(repr(row).encode("utf-8", "surrogatepass"))

    @property
    def content(self) -> Content:
        return Content(self._rows, self._hash.hexdigest())
