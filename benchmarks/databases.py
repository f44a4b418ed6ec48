"""What a database holds, read past the application."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Any

_FILE = "sqlite:///"


def rows(url: str, query: str, *values: int) -> list[tuple[Any, ...]]:
    """The rows of a query, with `?` where values stand, from a SQLite file or from PostgreSQL."""
    if url.startswith(_FILE):
        file = sqlite3.connect(f"file:{url.removeprefix(_FILE)}?mode=ro", uri=True, timeout=30)
        with contextlib.closing(file):
            return file.execute(query, values).fetchall()
    import psycopg

    with psycopg.connect(url) as connection:
        return connection.execute(query.replace("?", "%s").encode(), values or None).fetchall()
