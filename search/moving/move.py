"""A catalogue from SQLite to PostgreSQL: table by table, batch by batch, compared at the end.

What an earlier run copied before it was cut short is compared, too, and left as it is where it is
how this catalogue begins. Otherwise the catalogue changed in between, and copying begins anew.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from django.db import OperationalError, connection, transaction
from django.db.migrations.executor import MigrationExecutor

from embeddings.presence import Role, alive
from search.moving import source
from search.moving.rows import Content, Digest
from search.moving.source import Table
from search.moving.target import MoveError, Target

RUNNING = "A server runs on this catalogue: stop it, then move."


class Move:
    """One run of the command, which may go on where another was cut short.

    `begin`, `copy`, `verify` and `complete`, in this order, under `held_source`. The iterators
    yield rows done. All raise MoveError.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._there: dict[Table, int] = {}
        self._copied: dict[Table, Content] = {}
        self.tables = source.tables()
        self.rows = sum(map(source.count, self.tables))
        self.anew = False
        """Whether what an earlier run copied was of no use."""

    @property
    def kept(self) -> int:
        """Rows that an earlier run copied."""
        return sum(self._there.values())

    def begin(self) -> None:
        """Have empty tables, or those of an earlier run."""
        self._target.begin(source.path())
        self._target.make_tables(self.tables)

    def copy(self) -> Iterator[int]:
        """Copy what is not there."""
        for table in self.tables:
            there = self._target.content(table)
            if not source.begins_with(table, there, self._target.form(table)):
                self._target.empty(self.tables)
                self.anew = True
                self._there = {}
                break
            self._there[table] = there.rows
        for table in self.tables:
            yield from self._copy(table)

    def _copy(self, table: Table) -> Iterator[int]:
        form, digest = self._target.form(table), Digest()
        there = self._there.get(table, 0)
        for batch in source.batches(table):
            rows = [form(row) for row in batch]
            for row in rows:
                digest.add(row)
            missing = rows[max(len(rows) - max(digest.content.rows - there, 0), 0) :]
            if missing:
                self._target.write(table, missing)
            yield len(rows)
        self._copied[table] = digest.content

    def verify(self) -> Iterator[int]:
        """Read back what PostgreSQL holds, and compare."""
        for table, copied in self._copied.items():
            found = self._target.content(table)
            if found != copied:
                raise MoveError(
                    f"{table.name} differs: {copied.rows:,} rows were copied, {found.rows:,} are"
                    " there. Nothing uses the new database yet: run this again."
                )
            yield found.rows

    def complete(self) -> None:
        """Have keys go on where they are, and let servers start on the new database."""
        for table in self.tables:
            if table.counts:
                self._target.count_on(table, source.last_key(table))
        self._target.complete()


@contextlib.contextmanager
def held_source() -> Iterator[None]:
    """Let nobody write to the catalogue meanwhile. Raises MoveError where that cannot be."""
    if connection.vendor != "sqlite":
        raise MoveError(
            "This catalogue is on PostgreSQL: pg_dump and pg_restore move it to another server."
        )
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise MoveError(
            "The catalogue was made by an earlier version: run `manage.py migrate`, then move."
        )
    if alive(*Role).exists():
        raise MoveError(RUNNING)
    try:
        with transaction.atomic():  # SQLite's lock is taken at its begin, as the settings say
            yield
    except OperationalError as exc:
        raise MoveError(f"Something else writes to the catalogue ({exc}): stop it.") from exc
