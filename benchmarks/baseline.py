"""The original design, written plainly: what ours is measured against.

    python -m benchmarks.baseline MODEL DATA PORT CAPTIONS

FastAPI and uvicorn; transformers' CLIP, every text padded to 77 tokens; torch in fp32; one vector
an item in a FAISS IndexFlatL2; metadata in sqlite3; a background task an item. Where the design
leaves a choice, the faster one is taken: endpoints and tasks run in the thread pool, the model in
inference mode, and the index file is written when the server stops (not after each item, which at
100,000 vectors would mean 200 MB an item).
"""

from __future__ import annotations

import contextlib
import csv
import sqlite3
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import faiss
import numpy as np
import torch
import uvicorn
from fastapi import BackgroundTasks, Body, FastAPI, File, Form, HTTPException, UploadFile
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

from embeddings.encoders.base import Vectors, unit

INGEST_BATCH: Final = 16
"""Items a forward pass in batch ingestion."""
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS items (
    id INTEGER PRIMARY KEY AUTOINCREMENT, item_id TEXT, caption TEXT, image_path TEXT, title TEXT,
    tags TEXT, category TEXT, original_filename TEXT, faiss_id INTEGER
);
CREATE INDEX IF NOT EXISTS items_by_faiss_id ON items (faiss_id);
"""
METADATA: Final = ("title", "tags", "category", "original_filename", "faiss_id")
COLUMNS: Final = ("item_id", "caption", "image_path", *METADATA)
ADD: Final = f"INSERT INTO items VALUES (NULL, :{', :'.join(COLUMNS)})"
Item = dict[str, Any]
"""A row of the table."""


class Embedder:
    """CLIP through transformers. Gives float32 (n, d), L2-normalised."""

    def __init__(self, model: str) -> None:
        self.model: Any = CLIPModel.from_pretrained(model)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(model)
        self.pictures: Any = AutoImageProcessor.from_pretrained(model)  # type: ignore[no-untyped-call]

    def texts(self, texts: Sequence[str]) -> Vectors:
        length = self.model.config.text_config.max_position_embeddings  # CLIP's 77
        inputs = self.tokenizer(
            list(texts),
            return_tensors="pt",
            padding="max_length",
            truncation=True,
            max_length=length,
        )
        return self._rows(self.model.get_text_features, inputs)

    def images(self, images: Sequence[Image.Image]) -> Vectors:
        inputs = self.pictures(list(images), return_tensors="pt")
        return self._rows(self.model.get_image_features, inputs)

    @staticmethod
    def _rows(tower: Any, inputs: Any) -> Vectors:
        with torch.inference_mode():
            features = tower(**inputs)
        # Newer transformers return an object.
        tensor = features if isinstance(features, torch.Tensor) else features.pooler_output
        return unit(tensor.float().numpy())


class System:
    """Model, index, table, and the three endpoints."""

    def __init__(self, model: str, data: Path) -> None:
        self.images = data / "uploaded_images"
        self.images.mkdir(parents=True, exist_ok=True)
        self.embedder = Embedder(model)
        self.table, self.file = data / "metadata.db", data / "vector_index.faiss"
        self.dimension = int(self.embedder.model.config.projection_dim)
        self.index: Any = faiss.IndexFlatL2(self.dimension)
        self.lock = threading.Lock()
        with self.database() as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.executescript(SCHEMA)

    @contextlib.contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        """A connection a call, as the threads of the pool need."""
        with contextlib.closing(sqlite3.connect(self.table, timeout=30)) as connection, connection:
            connection.row_factory = sqlite3.Row
            yield connection

    def add(self, items: Sequence[Item], vectors: Vectors) -> None:
        with self.lock:
            first = int(self.index.ntotal)
            self.index.add(vectors)
        empty = dict.fromkeys(COLUMNS, "")
        rows = [empty | item | {"faiss_id": first + row} for row, item in enumerate(items)]
        with self.database() as database:
            database.executemany(ADD, rows)

    def save(self) -> None:
        with self.lock:
            faiss.write_index(self.index, str(self.file))

    def preload(self, captions: Sequence[str]) -> None:
        """Start with these items under random vectors: many are served without being embedded."""
        vectors = np.random.default_rng(0).standard_normal((len(captions), self.dimension))
        items = [{"item_id": f"item-{n}", "caption": text} for n, text in enumerate(captions)]
        self.add(items, unit(vectors.astype(np.float32)))
        self.save()

    def process(self, items: Sequence[Item]) -> None:
        """Embed and store; an item's vector is the mean of its picture's and its caption's."""
        total = np.zeros((len(items), self.dimension), np.float32)
        if rows := [row for row, item in enumerate(items) if item.get("image_path")]:
            opened = [Image.open(items[row]["image_path"]).convert("RGB") for row in rows]
            total[rows] += self.embedder.images(opened)
        if rows := [row for row, item in enumerate(items) if item.get("caption")]:
            total[rows] += self.embedder.texts([items[row]["caption"] for row in rows])
        self.add(items, unit(total))

    def ingest_stream(  # noqa: PLR0917  a form's fields
        self,
        background: BackgroundTasks,
        text_caption: Annotated[str, Form()] = "",
        image_file: Annotated[UploadFile | None, File()] = None,
        item_id: Annotated[str, Form()] = "",
        title: Annotated[str, Form()] = "",
        tags_str: Annotated[str, Form()] = "",
        category: Annotated[str, Form()] = "",
    ) -> dict[str, Any]:
        """Take an item in: POST /ingest_stream/."""
        if not text_caption and image_file is None:
            raise HTTPException(400, "Give text_caption or image_file.")
        item = {"item_id": item_id or f"item_{uuid.uuid4().hex}", "caption": text_caption}
        item |= {"title": title, "tags": tags_str, "category": category}
        if image_file is not None:
            name = Path(image_file.filename or "").name
            path = self.images / f"{uuid.uuid4().hex}_{name}"
            path.write_bytes(image_file.file.read())
            item |= {"image_path": str(path), "original_filename": name}
        background.add_task(self.process, [item])
        return {"message": "Item accepted for processing.", "item_id": item["item_id"]}

    def search_text(
        self, query_text: Annotated[str, Body()], top_n: Annotated[int, Body()] = 5
    ) -> dict[str, Any]:
        """Find items: POST /search_text/."""
        started = time.perf_counter()
        if not query_text.strip():
            raise HTTPException(400, "query_text is empty.")
        vector = self.embedder.texts([query_text])
        found, ids = self.index.search(vector, min(top_n, self.index.ntotal) or 1)
        distances = dict(zip(ids[0].tolist(), found[0].tolist(), strict=True))
        marks = ",".join("?" * len(distances))
        with self.database() as database:
            query = f"SELECT * FROM items WHERE faiss_id IN ({marks})"
            rows = {row["faiss_id"]: row for row in database.execute(query, list(distances))}
        results = [
            {
                "id": str(row["id"]),
                "score": 1 - distance / 2,
                "text": row["caption"],
                "image_path": row["image_path"],
                "metadata": {key: row[key] for key in METADATA},
            }
            for faiss_id, distance in distances.items()
            if (row := rows.get(faiss_id))
        ]
        return {"results": results, "query_time": time.perf_counter() - started}

    def stats(self) -> dict[str, Any]:
        """Counts: GET /stats/."""
        count = int(self.index.ntotal)
        return {"message": "System Stats", "total_vectors_in_faiss": count}


def ingest(model: str, data: Path, folder: Path) -> float:
    """Pictures a second of a folder into a fresh store, INGEST_BATCH at a time."""
    system, files = System(model, data), sorted(folder.iterdir())
    started = time.perf_counter()
    for start in range(0, len(files), INGEST_BATCH):
        chunk = files[start : start + INGEST_BATCH]
        system.process([{"item_id": file.stem, "image_path": str(file)} for file in chunk])
    system.save()
    return len(files) / (time.perf_counter() - started)


def serve(model: str, data: Path, port: int, captions: Path) -> None:
    """The three endpoints over the captions of a CSV; the index is written at the end."""
    system = System(model, data)
    with captions.open(newline="", encoding="utf-8") as stream:
        system.preload([row["caption"] for row in csv.DictReader(stream)])

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        system.save()

    app = FastAPI(title="baseline", lifespan=lifespan)
    app.add_api_route("/ingest_stream/", system.ingest_stream, methods=["POST"])
    app.add_api_route("/search_text/", system.search_text, methods=["POST"])
    app.add_api_route("/stats/", system.stats, methods=["GET"])
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    model, data, port, captions = sys.argv[1:]
    serve(model, Path(data), int(port), Path(captions))
