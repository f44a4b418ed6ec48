"""Where the original design keeps things: sqlite3 and one FAISS index."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import faiss

from embeddings.encoders.base import Vectors

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS items (
    id INTEGER PRIMARY KEY AUTOINCREMENT, item_id TEXT, title TEXT, caption TEXT, tags TEXT,
    category TEXT, image_path TEXT, original_filename TEXT, faiss_id INTEGER
);
CREATE INDEX IF NOT EXISTS items_by_faiss_id ON items (faiss_id);
"""


class MetadataStore:
    """The sqlite3 file; a connection a call, as the threads of the pool need."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._connection() as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(SCHEMA)

    @contextlib.contextmanager
    def _connection(self) -> Any:
        connection = sqlite3.connect(self.path, timeout=30)
        connection.row_factory = sqlite3.Row
        try:
            with connection:
                yield connection
        finally:
            connection.close()

    def add(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Rows of (item_id, title, caption, tags, category, image_path, filename, faiss_id)."""
        with self._connection() as connection:
            connection.executemany(
                "INSERT INTO items (item_id, title, caption, tags, category, image_path,"
                " original_filename, faiss_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )

    def by_faiss_ids(self, faiss_ids: Sequence[int]) -> dict[int, sqlite3.Row]:
        marks = ",".join("?" * len(faiss_ids))
        with self._connection() as connection:
            rows = connection.execute(
                f"SELECT * FROM items WHERE faiss_id IN ({marks})", list(faiss_ids)
            )
            return {row["faiss_id"]: row for row in rows}


class VectorStore:
    """IndexFlatL2, persisted as one file."""

    def __init__(self, path: Path, dimension: int) -> None:
        self.path = path
        self.lock = threading.Lock()
        self.index: Any = (
            faiss.read_index(str(path)) if path.exists() else faiss.IndexFlatL2(dimension)
        )

    def add(self, vectors: Vectors) -> int:
        """Append rows; returns the id of the first."""
        with self.lock:
            first = int(self.index.ntotal)
            self.index.add(vectors)
            return first

    def search(self, vector: Vectors, count: int) -> list[tuple[int, float]]:
        """(id, squared distance) of the nearest, nearest first."""
        distances, ids = self.index.search(vector, min(count, self.index.ntotal) or 1)
        pairs = zip(ids[0].tolist(), distances[0].tolist(), strict=True)
        return [(faiss_id, distance) for faiss_id, distance in pairs if faiss_id >= 0]

    def save(self) -> None:
        with self.lock:
            faiss.write_index(self.index, str(self.path))
