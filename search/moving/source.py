"""The catalogue that moves: its tables in an order that their references allow, and their rows."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from contextlib import closing
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Final

from django.apps import apps
from django.db import connection
from django.db.models import AutoField, ForeignKey, Model

from search.moving.rows import Content, Digest, Form

BATCH: Final = 2_000
"""Rows that are read, and written in one transaction."""


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """What has to be known of a table to copy it."""

    name: str
    key: str
    """The column of its primary key."""
    columns: tuple[str, ...]
    counts: bool
    """Whether the database gives out its keys."""


def tables() -> list[Table]:
    """Every table of the application, those that others refer to first."""
    models: dict[str, type[Model]] = {
        model._meta.db_table: model
        for model in apps.get_models(include_auto_created=True)
        if model._meta.managed and not model._meta.proxy
    }
    order = TopologicalSorter(
        {name: _referred(model) - {name} for name, model in models.items()}
    ).static_order()
    return [_table(models[name]) for name in order]


def _referred(model: type[Model]) -> set[str]:
    return {
        field.related_model._meta.db_table
        for field in model._meta.local_concrete_fields
        if isinstance(field, ForeignKey)
    }


def _table(model: type[Model]) -> Table:
    key = model._meta.pk
    columns = {field: str(field.column) for field in model._meta.local_concrete_fields}
    return Table(
        name=model._meta.db_table,
        key=columns[key],
        columns=tuple(columns.values()),
        counts=isinstance(key, AutoField),
    )


def path() -> Path:
    """The SQLite file."""
    return Path(connection.settings_dict["NAME"]).resolve()


def count(table: Table) -> int:
    """How many rows a table has."""
    return int(_value(f"SELECT count(*) FROM {_quoted(table.name)}"))  # noqa: S608  our names


def last_key(table: Table) -> int:
    """The highest key that the database ever gave out: none of them is given to another row."""
    highest = _value(f"SELECT max({_quoted(table.key)}) FROM {_quoted(table.name)}")  # noqa: S608
    given = _value("SELECT max(seq) FROM sqlite_sequence WHERE name = %s", table.name)
    return max(int(highest or 0), int(given or 0))


def batches(table: Table) -> Iterator[Sequence[Sequence[Any]]]:
    """The rows as SQLite has them, in the order of their keys."""
    columns = ", ".join(map(_quoted, table.columns))
    with closing(connection.cursor()) as cursor:
        cursor.execute(
            f"SELECT {columns} FROM {_quoted(table.name)} ORDER BY {_quoted(table.key)}"  # noqa: S608
        )
        while rows := cursor.fetchmany(BATCH):
            yield rows


def begins_with(table: Table, content: Content, form: Form) -> bool:
    """Whether the first rows of a table are this content."""
    digest = Digest()
    rows = (form(row) for batch in batches(table) for row in batch)
    for row in itertools.islice(rows, content.rows):
        digest.add(row)
    return digest.content == content


def _value(statement: str, *values: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchone()[0]


def _quoted(name: str) -> str:
    return connection.ops.quote_name(name)
