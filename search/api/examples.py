"""Answers as the schema shows them; a test holds them against their schemas."""

from __future__ import annotations

from typing import Final

ITEM: Final = {
    "item_id": "apple-1",
    "title": "Red apple",
    "caption": "A red apple on a wooden table.",
    "tags": ["fruit", "red"],
    "category": "Food",
    "image_url": "http://localhost:8000/media/images/3f/apple-1_3f9a0c1d2b4e.jpg",
    "thumbnail_url": "http://localhost:8000/media/previews/3f/apple-1_3f9a0c1d2b4e.jpg",
    "original_filename": "apple.jpg",
    "width": 1024,
    "height": 768,
    "state": "indexed",
    "error": "",
    "created_at": "2026-01-31T12:00:00Z",
    "updated_at": "2026-01-31T12:00:00Z",
    "url": "http://localhost:8000/api/v1/items/apple-1/",
}
ENVELOPE: Final = {
    "results": [
        {
            "item_id": "apple-1",
            "id": "1",
            "score": 0.9899,
            "modality": "words",
            "why": {
                "evidence": {"image": 0.7104, "text": 0.6216, "words": 0.97},
                "title": "<mark>Red</mark> <mark>apple</mark>",
                "caption": "A <mark>red</mark> <mark>apple</mark> on a wooden table.",
            },
            "title": "Red apple",
            "caption": "A red apple on a wooden table.",
            "tags": ["fruit", "red"],
            "category": "Food",
            "image_url": ITEM["image_url"],
            "thumbnail_url": ITEM["thumbnail_url"],
            "url": ITEM["url"],
        }
    ],
    "total": 1852,
    "top_n": 5,
    "offset": 0,
    "cursor": None,
    "facets": {
        "categories": [{"name": "Food", "count": 41}],
        "tags": [{"name": "fruit", "count": 17}],
    },
    "notes": [],
    "timings": {"encode_ms": 0.9, "index_ms": 0.4, "database_ms": 1.1, "total_ms": 2.4},
}
LEGACY: Final = {
    "results": [
        {
            "id": "1",
            "item_id": "item1",
            "score": 0.2817,
            "text": "A fluffy cat sitting on a couch.",
            "image_path": "images/3f/item1_3f9a0c1d2b4e.jpg",
            "metadata": {
                "title": "Fluffy Cat",
                "tags": "cat,pet,animal",
                "category": "Animals",
                "original_filename": "cat.jpg",
                "faiss_id": 1,
            },
        }
    ],
    "query_time": 0.004,
}
STATS: Final = {
    "message": "System Stats",
    "total_vectors_in_faiss": 3704,
    "memory_rss_mb": 250.75,
    "memory_vms_mb": 1200.5,
    "cpu_percent": 12.5,
    "faiss_index_path": "index",
    "metadata_db_path": "mmsearch.sqlite3",
    "items": 1852,
    "indexed": 1852,
    "pending": 0,
    "failed": 0,
    "model": "starter",
    "indexes": [
        {
            "modality": "image",
            "kind": "exact",
            "vectors": 1852,
            "delta": 0,
            "dead": 0,
            "effort": 0,
            "bytes_per_vector": 264.0,
            "recall": 1.0,
        }
    ],
    "spaces": [
        {
            "id": 1,
            "model": "starter",
            "revision": "0313fc691931395bbac9c8042038a5b6427c751b",
            "dimension": 256,
            "precision": "int8",
            "state": "active",
            "items": 1852,
            "done": 1852,
            "waiting": 0,
            "failed": 0,
            "items_per_second": None,
            "seconds_left": 0,
        }
    ],
}
