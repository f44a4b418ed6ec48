"""Fill an empty data folder with embedded items, as if they had been ingested long ago.

    MMSEARCH_DATA_DIR=… python -m benchmarks.prefill VECTORS.npy CAPTIONS.txt

Every item gets a picture's and a caption's vector (so the index holds twice as many vectors as
there are items), tags and a category. Rows are written in bulk; the index is then rebuilt with
`rebuild_index`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import django
import numpy as np
from django.core.management import call_command
from django.db import transaction
from numpy.typing import NDArray

CHUNK: Final = 2000
"""Items a transaction."""
TAGS: Final = 50
CATEGORIES: Final = 10


def prefill(vectors: Path, captions: Path) -> None:
    """Write item number i with row i of both; the pictures' vectors are the rows in reverse."""
    from catalog.models import Tag
    from embeddings.opening import open_space

    call_command("migrate", interactive=False, verbosity=0)
    space = open_space().space
    rows = np.load(vectors, mmap_mode="r")
    words = captions.read_text(encoding="utf-8").splitlines()
    tags = Tag.objects.bulk_create([Tag(name=f"tag {number:02}") for number in range(TAGS)])
    tag_ids = [tag.pk for tag in tags]
    for start in range(0, len(rows), CHUNK):
        end = min(start + CHUNK, len(rows))
        texts = rows[start:end].astype("<f2")
        pictures = rows[::-1][start:end].astype("<f2")
        _write(words[start:end], texts, pictures, space=space.pk, start=start, tags=tag_ids)


def _write(
    captions: list[str],
    texts: NDArray[np.float16],
    pictures: NDArray[np.float16],
    *,
    space: int,
    start: int,
    tags: list[int],
) -> None:
    from catalog.models import Item
    from embeddings.encoders.base import Modality
    from embeddings.models import Embedding, VectorChange

    items = [
        Item(
            item_id=f"item-{number}",
            title=f"Photograph {number}",
            caption=caption,
            category=f"category {number % CATEGORIES}",
            image=f"images/benchmark/{number}.jpg",
            original_filename=f"{number}.jpg",
            width=640,
            height=480,
            image_hash=f"{number:064x}",
        )
        for number, caption in enumerate(captions, start)
    ]
    for item in items:
        item.content_hash = item.compute_content_hash()
    with transaction.atomic():
        items = Item.objects.bulk_create(items)
        through = Item.tags.through
        through.objects.bulk_create(
            through(item_id=item.pk, tag_id=tags[(item.pk + step) % TAGS])
            for item in items
            for step in (0, 7)
        )
        for modality, vectors in ((Modality.TEXT, texts), (Modality.IMAGE, pictures)):
            Embedding.objects.bulk_create(
                Embedding(
                    space_id=space,
                    item=item,
                    modality=modality.value,
                    content_hash=item.content_hash,
                    vector=vector.tobytes(),
                )
                for item, vector in zip(items, vectors, strict=True)
            )
            VectorChange.objects.bulk_create(
                VectorChange(space_id=space, modality=modality.value, vector_item=item.pk)
                for item in items
            )


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mmsearch_project.settings")
    django.setup()
    prefill(Path(sys.argv[1]), Path(sys.argv[2]))


if __name__ == "__main__":
    main()
