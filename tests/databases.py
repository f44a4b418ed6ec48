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
    databases, queues = os.environ["TESTS_DATABASE_URL"], os.environ["TESTS_BROKER_URL"]
    digest = hashlib.sha256(str(data).encode()).hexdigest()
    name = f"mmsearch_{digest[:12]}"
    _ensure_database(databases, name)
    return {
        "MMSEARCH_DATABASE_URL": f"{databases}/{name}",
        "MMSEARCH_BROKER_URL": f"{queues}/{int(digest, 16) % QUEUES}",
    }


def _ensure_database(server: str, name: str) -> None:
    import psycopg
    from psycopg import errors, sql

    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        try:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        except errors.DuplicateDatabase:
            return
