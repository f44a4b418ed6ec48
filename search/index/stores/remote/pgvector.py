"""pgvector: vectors as halfvec in a table of the database itself, searched by HNSW."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

import numpy as np
from django.conf import settings
from django.db import DatabaseError, connection, transaction

from search.index.stores.base import SCAN_BATCH, Ids, Vectors
from search.index.stores.remote.engine import Engine, StoreUnavailable

if TYPE_CHECKING:
    from django.core.checks import CheckMessage

logger = logging.getLogger(__name__)

INDEX_ROWS: Final = 20_000
"""Below, reading every vector takes a few milliseconds and misses none."""
EXACT_IDS: Final = 20_000
"""So many allowed ids are read by key: it costs no more than the graph, and misses none."""
M: Final = 16
EF_CONSTRUCTION: Final = 96
EF_SEARCH: Final = 160
"""Candidates on the way, at least: recall@10 of 0.99 and more on a million clustered vectors."""
MOST_EF: Final = 1_000
"""pgvector takes no more; a scan for more goes on from where it was."""
SCAN_TUPLES: Final = 200_000
"""Vectors that such a scan looks at."""
BUILD_MB: Final = 4_096
"""Memory that building the graph may take; what does not fit is built ten times slower."""


class _Execute(Protocol):
    def __call__(
        self, statement: str, values: Sequence[Any] = (), *, result: int = 0
    ) -> list[tuple[Any, ...]]: ...


class PgvectorEngine(Engine):
    """A table a collection. It is written in the transaction that notes how far it is."""

    most: ClassVar[int] = 16_384
    exact_ids: ClassVar[int] = EXACT_IDS

    def prepare(self) -> bool:
        with _writing() as execute:
            if execute("SELECT to_regclass(%s)", [self.collection])[0][0] is not None:
                return False
            execute("CREATE EXTENSION IF NOT EXISTS vector")
            execute(
                f'CREATE TABLE IF NOT EXISTS "{self.collection}" (item bigint PRIMARY KEY,'
                f" vector halfvec({self.dimension}) NOT NULL)"
            )
            # Compressing would be in vain, and reading it from elsewhere slow.
            execute(f'ALTER TABLE "{self.collection}" ALTER vector SET STORAGE PLAIN')
        return True

    def write(self, ids: Ids, vectors: Vectors, removed: Ids) -> None:
        with _writing() as execute:
            if removed.size:
                execute(f'DELETE FROM "{self.collection}" WHERE item = ANY(%s)', [removed.tolist()])
            if ids.size:
                execute(f'CREATE TEMP TABLE new (LIKE "{self.collection}" INCLUDING STORAGE)')
                with (
                    connection.cursor() as cursor,
                    cursor.copy("COPY new FROM STDIN (FORMAT BINARY)") as copy,
                ):
                    copy.write(_rows(ids, vectors))
                execute(
                    f'INSERT INTO "{self.collection}" SELECT * FROM new'
                    " ON CONFLICT (item) DO UPDATE SET vector = EXCLUDED.vector"
                )
                execute("DROP TABLE new")

    def settle(self) -> None:
        index = f"{self.collection}_hnsw"
        with _writing() as execute:
            if execute("SELECT to_regclass(%s)", [index])[0][0] is not None:
                return
            rows = execute(
                f'SELECT count(*) FROM (SELECT 1 FROM "{self.collection}" LIMIT {INDEX_ROWS}) few'
            )[0][0]
            if rows < INDEX_ROWS:
                return
            logger.info("Building the index of %s", self.collection)
            execute(
                "SELECT set_config('maintenance_work_mem', greatest("
                "pg_size_bytes(current_setting('maintenance_work_mem')),"
                " least(%s, 2 * pg_total_relation_size(%s)::bigint)) / 1024 || 'kB', true)",
                [BUILD_MB * 2**20, self.collection],
            )
            execute(
                f'CREATE INDEX IF NOT EXISTS "{index}" ON "{self.collection}"'
                " USING hnsw (vector halfvec_ip_ops)"
                f" WITH (m = {M}, ef_construction = {EF_CONSTRUCTION})"
            )
            execute(f'ANALYZE "{self.collection}"')

    def search(self, vector: Vectors, count: int, allowed: Ids | None) -> Ids:
        query = _text(vector)
        if allowed is not None and allowed.size <= EXACT_IDS:
            return self._exact(query, count, allowed)
        ids = self._by_index(query, count, allowed)
        if allowed is not None and ids.size < min(count, allowed.size):
            return self._exact(query, count, allowed)  # too few of them on the way to the query
        return ids

    def _by_index(self, query: str, count: int, allowed: Ids | None) -> Ids:
        among = "" if allowed is None else "WHERE item = ANY(%s)"
        effort = min(max(EF_SEARCH, count), MOST_EF)
        with _reading() as execute:
            rows = execute(
                # One message, and for this one statement only, whoever has the connection next.
                "SELECT set_config('hnsw.ef_search', %s, true),"
                " set_config('hnsw.iterative_scan', 'relaxed_order', true),"
                " set_config('hnsw.max_scan_tuples', %s, true);"
                f' SELECT item FROM "{self.collection}" {among}'
                " ORDER BY vector <#> %s::halfvec LIMIT %s",
                [
                    str(effort),
                    str(SCAN_TUPLES),
                    *([] if allowed is None else [allowed.tolist()]),
                    query,
                    count,
                ],
                result=1,
            )
        return _ids(rows)

    def _exact(self, query: str, count: int, allowed: Ids) -> Ids:
        with _reading() as execute:
            rows = execute(
                "SELECT item FROM"
                f' (SELECT * FROM "{self.collection}" WHERE item = ANY(%s) OFFSET 0) few'
                " ORDER BY vector <#> %s::halfvec LIMIT %s",
                [allowed.tolist(), query, count],
            )
        return _ids(rows)

    def scan(self) -> Iterator[tuple[Ids, Vectors]]:
        after = -1
        while True:
            with _reading() as execute:
                rows = execute(
                    f'SELECT item, vector::text FROM "{self.collection}" WHERE item > %s'
                    " ORDER BY item LIMIT %s",
                    [after, SCAN_BATCH],
                )
            if not rows:
                return
            after = rows[-1][0]
            numbers = np.fromstring(",".join(text[1:-1] for _, text in rows), np.float32, sep=",")
            yield _ids(rows), numbers.reshape(len(rows), self.dimension)

    def drop(self) -> None:
        with _writing() as execute:
            execute(f'DROP TABLE IF EXISTS "{self.collection}"')

    @classmethod
    def check(cls, address: str) -> list[CheckMessage]:
        from django.core.checks import Error

        if settings.DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
            return []
        return [
            Error(
                f"MMSEARCH_VECTOR_STORE={address} needs PostgreSQL, and the database is another.",
                hint="Set MMSEARCH_DATABASE_URL=postgresql://… (`manage.py move_to` moves a"
                " catalogue there), or use faiss.",
                id="search.E002",
            )
        ]


def _execute(
    statement: str, values: Sequence[Any] = (), *, result: int = 0
) -> list[tuple[Any, ...]]:
    """Rows of the last of `result` + 1 statements, on this thread's connection."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        for _ in range(result):
            cursor.nextset()
        return cursor.fetchall() if cursor.description else []


@contextmanager
def _reading() -> Iterator[_Execute]:
    """What the database says against a statement is a StoreUnavailable."""
    try:
        yield _execute
    except DatabaseError as exc:
        raise StoreUnavailable(_told(exc)) from exc


@contextmanager
def _writing() -> Iterator[_Execute]:
    """The same of statements that go together."""
    with _reading() as execute, transaction.atomic():
        yield execute


def _told(exc: DatabaseError) -> str:
    words = str(exc).strip().splitlines()[0] if str(exc) else type(exc).__name__
    if 'extension "vector"' in words:
        return (
            "The database server has no pgvector: install its package (postgresql-NN-pgvector) on"
            f" the server, or let an administrator CREATE EXTENSION vector. It said: {words}"
        )
    return f"The vector table does not answer: {words}"


def _rows(ids: Ids, vectors: Vectors) -> bytes:
    """Rows in the binary form of COPY: each field after its length, all big-endian."""
    dimension = vectors.shape[1]
    field = [("count", ">i2"), ("id_size", ">i4"), ("id", ">i8"), ("size", ">i4")]
    halfvec = [("dimension", ">i2"), ("unused", ">i2"), ("numbers", ">f2", (dimension,))]
    rows = np.zeros(ids.size, np.dtype([*field, *halfvec]))
    rows["count"], rows["id_size"], rows["id"] = 2, 8, ids
    rows["size"], rows["dimension"], rows["numbers"] = 4 + 2 * dimension, dimension, vectors
    return b"PGCOPY\n\xff\r\n\0" + bytes(8) + rows.tobytes() + b"\xff\xff"


def _text(vector: Vectors) -> str:
    return f"[{','.join(map(str, vector.tolist()))}]"


def _ids(rows: list[tuple[Any, ...]]) -> Ids:
    return np.array([row[0] for row in rows], dtype=np.int64)
