"""The demo catalogue made uneven, as real ones are: what `demo/relevance.jsonl` judges.

Some items lose their words, others their picture or their tags, and some titles get a code. Which
ones is decided by a hash of the id, so that every run makes the same catalogue.
"""

from __future__ import annotations

import csv
import enum
import hashlib
from pathlib import Path
from typing import Final

COLUMNS: Final = ("id", "image_filename", "caption", "title", "tags", "category")
CODED: Final = 6
"""One titled item in so many has a code in its title."""
_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"


class Kept(enum.StrEnum):
    """What an item of the demo keeps, beside its category."""

    PICTURE = "picture"
    WORDS = "words"
    PICTURE_AND_CAPTION = "picture and caption"
    ALL = "all"


_SHARES: Final = (
    *[Kept.PICTURE] * 5,
    *[Kept.WORDS] * 4,
    *[Kept.PICTURE_AND_CAPTION] * 4,
    *[Kept.ALL] * 7,
)


def kept(item_id: str) -> Kept:
    """What is left of the item."""
    return _SHARES[_number("kept", item_id) % len(_SHARES)]


def code(item_id: str) -> str:
    """The code in the item's title, such as ``QX-1042``; empty where it has none."""
    if kept(item_id) is Kept.PICTURE or _number("coded", item_id) % CODED:
        return ""
    number = _number("code", item_id)
    first, second = (_LETTERS[number // base % len(_LETTERS)] for base in (1, len(_LETTERS)))
    return f"{first}{second}-{1000 + number // 400 % 9000}"


def mixed_row(row: dict[str, str]) -> dict[str, str]:
    """A row of the demo's table as it is in the mixed catalogue."""
    left = kept(row["id"])
    mixed = dict(row)
    if left is Kept.PICTURE:
        mixed.update(title="", caption="", tags="")
    elif left is Kept.WORDS:
        mixed["image_filename"] = ""
    elif left is Kept.PICTURE_AND_CAPTION:
        mixed["tags"] = ""
    mixed["title"] = f"{mixed['title']} {code(row['id'])}".strip()
    return mixed


def write_mixed(demo: Path, target: Path) -> None:
    """Write the mixed catalogue's table; its pictures are the demo's."""
    with (
        (demo / "metadata.csv").open(encoding="utf-8", newline="") as source,
        target.open("w", encoding="utf-8", newline="") as stream,
    ):
        table = csv.DictWriter(stream, COLUMNS)
        table.writeheader()
        table.writerows(mixed_row(row) for row in csv.DictReader(source))


def _number(purpose: str, item_id: str) -> int:
    """The same number in every run, and another one for every purpose."""
    return int(hashlib.sha256(f"{purpose} {item_id}".encode()).hexdigest()[:12], 16)
