"""A database and a queue for a data folder, on the servers that a run of the tests was given.

Without servers a test runs on SQLite, as an installation does that is told nothing.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

QUEUES: Final = 10_000
"""Numbered databases of the Redis that a run is given."""


def on_servers() -> bool:
    """Whether this run was given servers: `tests.on_servers` starts them."""
    return "TESTS_DATABASE_URL" in os.environ


def servers_of(data: Path) -> dict[str, str]:
    """The settings that give a data folder a database and a queue of its own."""
    if not on_servers():
        return {}
    queue = int(_digest(data), 16) % QUEUES
    return {
        "MMSEARCH_DATABASE_URL": database_of(data),
        "MMSEARCH_BROKER_URL": f"{os.environ['TESTS_BROKER_URL']}/{queue}",
    }


def database_of(data: Path) -> str:
    """The address of a database on the given PostgreSQL, made if absent."""
    server, name = os.environ["TESTS_DATABASE_URL"], _name(data)
    _ensure_database(server, name)
    return f"{server}/{name}"


def copy_database(data: Path, target: Path) -> None:
    """Make the database of one data folder, which nobody may use now, that of another."""
    import psycopg
    from psycopg import sql

    names = [sql.Identifier(_name(each)) for each in (target, data)]
    with psycopg.connect(f"{os.environ['TESTS_DATABASE_URL']}/postgres", autocommit=True) as server:
        server.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(names[0]))
        server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))


def _name(data: Path) -> str:
    return f"mmsearch_{_digest(data)[:12]}"


def _digest(data: Path) -> str:
    return hashlib.sha256(str(data).encode()).hexdigest()


def _ensure_database(server: str, name: str) -> None:
    import psycopg
    from psycopg import errors, sql

    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        try:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        except errors.DuplicateDatabase:
            return
