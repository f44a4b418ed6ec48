"""Builds the demo catalogue from the style that training never sees.

Run: ``python -m training.catalogue``.
"""

import csv
from typing import Final

from PIL import Image

from training.concepts import Concept, code_of, load_concepts
from training.workspace import DEMO, PACKAGES

FLUENT: Final = PACKAGES / "lobehub-fluent-emoji-3d-1.1.0" / "assets"
SIDE: Final = 128  # pixels
COLUMNS: Final = ("id", "image_filename", "caption", "title", "tags", "category")


def caption_of(concept: Concept) -> str:
    """The label as a caption: ``flag: France`` becomes ``flag of France``."""
    return concept.label.replace("flag: ", "flag of ").replace("keycap: ", "keycap ")


def title_of(caption: str) -> str:
    """Title case that leaves the rest of each word alone (``FREE button`` stays loud)."""
    return " ".join(word[:1].upper() + word[1:] for word in caption.split(" "))


def main() -> None:
    """Write ``demo/images/*.webp`` and ``demo/metadata.csv``."""
    assets = {code_of(path.stem): path for path in sorted(FLUENT.glob("*.webp"))}
    images = DEMO / "images"
    images.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, str]] = []
    for concept in load_concepts():
        asset = assets.get(concept.code)
        if asset is None:
            continue
        filename = f"{concept.code}.webp"
        with Image.open(asset) as picture:
            small = picture.convert("RGBA").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        small.save(images / filename, "WEBP", quality=80, method=4)
        caption = caption_of(concept)
        rows.append(
            {
                "id": concept.code,
                "image_filename": filename,
                "caption": caption,
                "title": title_of(caption),
                "tags": ",".join(concept.tags),
                "category": concept.group,
            }
        )
    with (DEMO / "metadata.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, quoting=csv.QUOTE_MINIMAL, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} pictures")


if __name__ == "__main__":
    main()
