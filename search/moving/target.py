"""The PostgreSQL database that a catalogue moves into, and how far it has come."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import psycopg
from django.conf import settings
from psycopg import sql

from search.moving import MARK
from search.moving.rows import Content, Digest, Form, Row
from search.moving.source import BATCH, Table


class MoveError(Exception):
    """The catalogue cannot be moved; the message names the mend."""


class Target:
    """The database, over a connection of its own. A context manager.

    Raises MoveError where it cannot be reached or cannot hold a catalogue.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        try:
            self._connection = psycopg.connect(url, autocommit=True)
        except psycopg.OperationalError as exc:
            raise MoveError(f"PostgreSQL cannot be reached: {exc}") from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def begin(self, source: Path) -> None:
        """Mark the database as the target of this move, or find it marked.

        Raises MoveError where it holds anything else.
        """
        (encoding,) = self._row("SHOW server_encoding")
        if encoding != "UTF8":
            raise MoveError(
                f"The database keeps text as {encoding}: make one with"
                " CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0."
            )
        (is_marked,) = self._row("SELECT to_regclass(%s) IS NOT NULL", MARK)
        if is_marked:
            (begun,) = self._row("SELECT source FROM mmsearch_move")
            if begun != str(source):
                raise MoveError(
                    f"A move of {begun} into this database is not complete. Complete it, or name"
                    " another database."
                )
            return
        (there,) = self._row("SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()")
        if there:
            raise MoveError(
                f"The database holds {there} tables already. A catalogue moves into an empty one:"
                " CREATE DATABASE, and name that."
            )
        with self._connection.transaction():
            self._connection.execute("CREATE TABLE mmsearch_move (source text, emptied boolean)")
            self._connection.execute("INSERT INTO mmsearch_move VALUES (%s, false)", [str(source)])

    def make_tables(self, tables: Sequence[Table]) -> None:
        """Have the tables there, once without the rows that making them wrote."""
        done = subprocess.run(
            [sys.executable, settings.BASE_DIR / "manage.py", "migrate", "-v0", "--no-input"],
            env=os.environ | {"MMSEARCH_DATABASE_URL": self._url},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise MoveError(f"The tables could not be made: {done.stderr.strip()[-500:]}")
        if not self._row("SELECT emptied FROM mmsearch_move")[0]:
            self.empty(tables)

    def empty(self, tables: Sequence[Table]) -> None:
        """Delete all rows."""
        names = sql.SQL(", ").join(sql.Identifier(table.name) for table in tables)
        with self._connection.transaction():
            self._connection.execute(sql.SQL("TRUNCATE {}").format(names))
            self._connection.execute("UPDATE mmsearch_move SET emptied = true")

    def form(self, table: Table) -> Form:
        """The form of a table's rows."""
        types = self._types(table)
        return Form([types[column] for column in table.columns])

    def content(self, table: Table) -> Content:
        """What a table holds."""
        form, digest = self.form(table), Digest()
        is_text = self._types(table)[table.key] in {"character varying", "text"}
        order = sql.SQL(' COLLATE "C"' if is_text else "")  # by their bytes, as SQLite
        statement = sql.SQL("SELECT {} FROM {} ORDER BY {}").format(
            sql.SQL(", ").join(map(sql.Identifier, table.columns)),
            sql.Identifier(table.name),
            sql.Identifier(table.key) + order,
        )
        with self._connection.transaction(), self._connection.cursor("rows") as cursor:
            cursor.itersize = BATCH
            for row in cursor.execute(statement):
                digest.add(form(row))
        return digest.content

    def write(self, table: Table, rows: Sequence[Row]) -> None:
        """Add rows, all or none. Raises MoveError where PostgreSQL does not take them."""
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
            sql.Identifier(table.name),
            sql.SQL(", ").join(map(sql.Identifier, table.columns)),
        )
        try:
            with (
                self._connection.transaction(),
                self._connection.cursor() as cursor,
                cursor.copy(statement) as copy,
            ):
                for row in rows:
                    copy.write_row(row)
        except psycopg.DataError as exc:
            at = table.columns.index(table.key)
            raise MoveError(
                f"PostgreSQL does not take a row of {table.name} between {rows[0][at]!r} and"
                f" {rows[-1][at]!r}: {exc}"
            ) from exc

    def count_on(self, table: Table, last: int) -> None:
        """Have the keys of new rows be above `last`."""
        self._connection.execute(
            "SELECT setval(pg_get_serial_sequence(%s, %s), %s, %s)",
            [f'"{table.name}"', table.key, max(last, 1), last > 0],
        )

    def complete(self) -> None:
        """Tell the planner what there is, and take the mark away."""
        self._connection.execute("VACUUM (ANALYZE)")
        self._connection.execute("DROP TABLE mmsearch_move")

    def _types(self, table: Table) -> dict[str, str]:
        """PostgreSQL's names of the types of a table's columns."""
        statement = (
            "SELECT column_name::text, data_type::text FROM information_schema.columns"
            " WHERE table_schema = current_schema() AND table_name = %s"
        )
        return dict(self._connection.execute(statement, [table.name]).fetchall())

    def _row(self, statement: str, *values: str) -> tuple[object, ...]:
        row = self._connection.execute(statement.encode(), values or None).fetchone()
        assert row is not None  # noqa: S101  each of our statements gives one
        return row
