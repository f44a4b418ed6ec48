"""The original design, written plainly: what ours is measured against.

    python -m benchmarks.baseline serve --model DIR --data DIR --port 8100
    python -m benchmarks.baseline ingest --folder FOLDER --model DIR --data DIR

FastAPI and uvicorn; transformers' CLIP processor, every text padded to 77 tokens; torch in fp32;
one vector an item in a FAISS IndexFlatL2; metadata in sqlite3; a background task an item. Where
the design leaves a choice, the faster one is taken: endpoints and tasks run in the thread pool,
the model in inference mode, and the index file is written when the server stops (not after each
item, which at 100,000 vectors would mean 200 MB an item).
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import sqlite3
import threading
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import faiss
import numpy as np
import torch
import uvicorn
from fastapi import BackgroundTasks, FastAPI, File, Form, HTTPException, UploadFile
from PIL import Image
from transformers import CLIPModel, CLIPProcessor, CLIPTextConfig

from embeddings.encoders.base import Vectors, unit

INGEST_BATCH: Final = 16
"""Items a forward pass in batch ingestion."""
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


class EmbeddingService:
    """CLIP through transformers."""

    def __init__(self, model: Path) -> None:
        self.model: Any = CLIPModel.from_pretrained(model)
        self.processor: Any = CLIPProcessor.from_pretrained(model)
        self.context_length = int(CLIPTextConfig.from_pretrained(model).max_position_embeddings)
        """Tokens that every text is padded to: CLIP's 77."""

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Float32 (len(texts), d), L2-normalised."""
        inputs = self.processor(
            text=list(texts),
            return_tensors="pt",
            padding="max_length",
            truncation=True,
            max_length=self.context_length,
        )
        with torch.inference_mode():
            return _rows(self.model.get_text_features(**inputs))

    def embed_images(self, images: Sequence[Image.Image]) -> Vectors:
        """Float32 (len(images), d), L2-normalised."""
        inputs = self.processor(images=list(images), return_tensors="pt")
        with torch.inference_mode():
            return _rows(self.model.get_image_features(**inputs))


def _rows(features: Any) -> Vectors:
    """Unit rows, from a tensor or from the output object that newer transformers return."""
    tensor = features if isinstance(features, torch.Tensor) else features.pooler_output
    return unit(tensor.float().numpy())


@dataclasses.dataclass
class TextQuery:
    """Body of /search_text/."""

    query_text: str
    top_n: int = 5


@dataclasses.dataclass
class NewItem:
    """An item on its way in, in the order of the table's columns."""

    item_id: str
    title: str = ""
    caption: str = ""
    tags: str = ""
    category: str = ""
    image_path: str = ""
    filename: str = ""


class System:
    """The parts of the original design and its three endpoints."""

    def __init__(self, model: Path, data: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self.images = data / "uploaded_images"
        self.images.mkdir(exist_ok=True)
        self.embedder = EmbeddingService(model)
        self.metadata = MetadataStore(data / "metadata.db")
        dimension = int(self.embedder.model.config.projection_dim)
        self.vectors = VectorStore(data / "vector_index.faiss", dimension)

    def preload(self, captions: Sequence[str]) -> None:
        """Start with these items under random vectors: many are served without being embedded."""
        vectors = np.random.default_rng(0).standard_normal((len(captions), self.vectors.index.d))
        self.vectors.add(unit(vectors.astype(np.float32)))
        rows = [(f"item-{n}", "", text, "", "", "", "", n) for n, text in enumerate(captions)]
        self.metadata.add(rows)
        self.vectors.save()

    def process(self, items: Sequence[NewItem]) -> None:
        """Embed and store; an item's vector is the mean of its picture's and its caption's."""
        pictures = [item for item in items if item.image_path]
        texts = [item for item in items if item.caption]
        total = np.zeros((len(items), self.vectors.index.d), np.float32)
        position = {item.item_id: row for row, item in enumerate(items)}
        if pictures:
            opened = [Image.open(item.image_path).convert("RGB") for item in pictures]
            rows = [position[item.item_id] for item in pictures]
            total[rows] += self.embedder.embed_images(opened)
        if texts:
            rows = [position[item.item_id] for item in texts]
            total[rows] += self.embedder.embed_texts([item.caption for item in texts])
        first = self.vectors.add(unit(total))
        self.metadata.add(
            [(*dataclasses.astuple(item), first + row) for row, item in enumerate(items)]
        )

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
        item_id = item_id or f"item_{uuid.uuid4().hex}"
        filename = Path((image_file.filename if image_file else "") or "").name
        image_path = ""
        if image_file is not None:
            image_path = str(self.images / f"{uuid.uuid4().hex}_{filename}")
            Path(image_path).write_bytes(image_file.file.read())
        item = NewItem(item_id, title, text_caption, tags_str, category, image_path, filename)
        background.add_task(self.process, [item])
        return {"message": "Item accepted for processing.", "item_id": item_id}

    def search_text(self, query: TextQuery) -> dict[str, Any]:
        """Find items: POST /search_text/."""
        started = time.perf_counter()
        if not query.query_text.strip():
            raise HTTPException(400, "query_text is empty.")
        found = self.vectors.search(self.embedder.embed_texts([query.query_text]), query.top_n)
        rows = self.metadata.by_faiss_ids([faiss_id for faiss_id, _ in found])
        results = [
            {
                "id": str(rows[faiss_id]["id"]),
                "score": 1 - distance / 2,
                "text": rows[faiss_id]["caption"],
                "image_path": rows[faiss_id]["image_path"],
                "metadata": {
                    "title": rows[faiss_id]["title"],
                    "tags": rows[faiss_id]["tags"],
                    "category": rows[faiss_id]["category"],
                    "original_filename": rows[faiss_id]["original_filename"],
                    "faiss_id": faiss_id,
                },
            }
            for faiss_id, distance in found
            if faiss_id in rows
        ]
        return {"results": results, "query_time": time.perf_counter() - started}

    def stats(self) -> dict[str, Any]:
        """Counts: GET /stats/."""
        count = int(self.vectors.index.ntotal)
        return {"message": "System Stats", "total_vectors_in_faiss": count}

    def application(self) -> FastAPI:
        """The three endpoints; the index is written at the end."""

        @contextlib.asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            yield
            self.vectors.save()

        app = FastAPI(title="baseline", lifespan=lifespan)
        app.add_api_route("/ingest_stream/", self.ingest_stream, methods=["POST"])
        app.add_api_route("/search_text/", self.search_text, methods=["POST"])
        app.add_api_route("/stats/", self.stats, methods=["GET"])
        return app


def run_batch_ingestion(system: System, folder: Path) -> int:
    """Embed every picture of a folder, INGEST_BATCH at a time; returns how many."""
    files = sorted(folder.iterdir())
    for start in range(0, len(files), INGEST_BATCH):
        chunk = files[start : start + INGEST_BATCH]
        system.process([NewItem(file.stem, image_path=str(file)) for file in chunk])
    system.vectors.save()
    return len(files)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("action", choices=("serve", "ingest"))
    parser.add_argument("--folder", type=Path, help="of pictures to ingest")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--port", type=int, default=8100)
    parser.add_argument("--captions", type=Path, help="CSV of items to start with")
    options = parser.parse_args()
    system = System(options.model, options.data)
    if options.captions and not system.vectors.index.ntotal:
        with options.captions.open(newline="", encoding="utf-8") as stream:
            system.preload([row["caption"] for row in csv.DictReader(stream)])
    if options.action == "ingest":
        started = time.perf_counter()
        count = run_batch_ingestion(system, options.folder)
        print(f"Embedded {count} items in {time.perf_counter() - started:.3f} s")
    else:
        uvicorn.run(system.application(), host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
