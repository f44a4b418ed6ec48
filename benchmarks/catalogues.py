"""Two catalogues to judge, made of the demo's pictures; every run makes the same.

*Mixed* is the demo made uneven, as real catalogues are: some items lose their words, others their
picture or their tags, and some titles get a code. Which ones is decided by a hash of the id. It is
what `demo/relevance.jsonl` judges.

*Products* are prints of the same pictures, sold by made-up makers. They guard against weights that
fit one set of queries: captions are longer and share most of their words, titles end in codes, and
makers have names that nobody has heard. Everything is decided by a seed.
"""

from __future__ import annotations

import csv
import enum
import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

COLUMNS: Final = ("id", "image_filename", "caption", "title", "tags", "category")
CODED: Final = 6
"""One titled item in so many has a code in its title."""
SEED: Final = 20_261
EACH: Final = 60
"""Queries of a kind, but for nonsense and categories."""
NONSENSE: Final = 50
LONG_WORD: Final = 5
"""Letters from which on a word gets a typo."""
_PRODUCTS: Final = {
    "wall art": ("poster", "canvas", "woodcut"),
    "tableware": ("mug", "plate", "bowl"),
    "bedding": ("pillow", "blanket", "quilt"),
    "bags": ("backpack", "tote", "pouch"),
    "clothing": ("sweater", "apron", "shirt"),
    "toys": ("puzzle", "spinner", "kite"),
}
_MATERIALS: Final = ("linen", "walnut", "enamel", "felt", "bamboo", "stoneware", "cotton", "brass")
_FINISHES: Final = ("hand-painted", "embroidered", "matte", "glazed", "washable", "engraved")
_PLACES: Final = ("the kitchen", "a nursery", "the garden", "an office", "a camper", "the hallway")
_STARTS: Final = ("b", "br", "d", "dr", "f", "g", "gl", "k", "kr", "l", "m", "n", "pl", "r", "st")
_VOWELS: Final = ("a", "e", "i", "o", "u", "ai", "ou", "ea")
_ENDS: Final = ("b", "ck", "d", "ff", "g", "lm", "m", "n", "nd", "p", "rn", "s", "st", "t", "x")
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
_HARSH: Final = "bcdfghjklmnpqrstvwxz"
_ROWS: Final = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
Row = dict[str, str]


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
_LOST: Final = {
    Kept.PICTURE: ("title", "caption", "tags"),
    Kept.WORDS: ("image_filename",),
    Kept.PICTURE_AND_CAPTION: ("tags",),
    Kept.ALL: (),
}


def kept(item_id: str) -> Kept:
    """What is left of the item in the mixed catalogue."""
    return _SHARES[_number("kept", item_id) % len(_SHARES)]


def code(item_id: str) -> str:
    """The code in the item's title, such as ``QX-1042``; empty where it has none."""
    if kept(item_id) is Kept.PICTURE or _number("coded", item_id) % CODED:
        return ""
    number, letters = _number("code", item_id), "BCDFGHJKLMNPQRSTVWXZ"
    first, second = (letters[number // base % len(letters)] for base in (1, len(letters)))
    return f"{first}{second}-{1000 + number // 400 % 9000}"


def mixed_row(row: Row) -> Row:
    """A row of the demo's table as it is in the mixed catalogue."""
    mixed = row | dict.fromkeys(_LOST[kept(row["id"])], "")
    return mixed | {"title": f"{mixed['title']} {code(row['id'])}".strip()}


def write_mixed(demo: Path, table: Path) -> None:
    """Write the mixed catalogue's table."""
    _write(table, map(mixed_row, _rows(demo)))


def write_products(demo: Path, table: Path, qrels: Path) -> None:
    """Write the products' table and their judged queries."""
    source = random.Random(SEED)
    rows = [_product(row, source) for row in _rows(demo)]
    _write(table, rows)
    lines = [json.dumps(query, ensure_ascii=False) for query in _queries(rows, source)]
    qrels.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _number(purpose: str, item_id: str) -> int:
    """The same number in every run, and another one for every purpose."""
    return int(hashlib.sha256(f"{purpose} {item_id}".encode()).hexdigest()[:12], 16)


def _rows(demo: Path) -> list[Row]:
    with (demo / "metadata.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _write(table: Path, rows: Iterable[Mapping[str, str]]) -> None:
    with table.open("w", encoding="utf-8", newline="") as stream:
        written = csv.DictWriter(stream, COLUMNS, extrasaction="ignore")
        written.writeheader()
        written.writerows(rows)


def _product(row: Row, source: random.Random) -> Row:
    """A product's row, with its code and its maker."""
    category = source.choice(list(_PRODUCTS))
    product = source.choice(_PRODUCTS[category])
    maker = f"{_name(source)} {_name(source)}"
    caption = (
        f"{source.choice(_FINISHES)} {source.choice(_MATERIALS)} {product} with a {row['caption']}"
        f" for {source.choice(_PLACES)}, by {maker}"
    )
    code = "".join(source.choices(_HARSH.upper(), k=2)) + f"-{source.randrange(1000, 10000)}"
    return {
        "id": f"product-{row['id']}",
        "image_filename": row["image_filename"],
        "caption": caption,
        "title": f"{row['title']} {product} {code}",
        "category": category,
        "code": code,
        "maker": maker,
    }


def _name(source: random.Random) -> str:
    parts = [source.choice(_STARTS) + source.choice(_VOWELS) for _ in range(source.choice((1, 2)))]
    return "".join(parts) + source.choice(_ENDS) + source.choice(("", "el", "ow", "ik"))


def _queries(rows: list[Row], source: random.Random) -> Iterator[dict[str, Any]]:
    def query(kind: str, text: str, relevant: dict[str, int]) -> dict[str, Any]:
        return {"kind": kind, "query": text, "relevant": relevant}

    captions = {row["caption"] for row in rows}
    for row in source.sample(rows, EACH):
        typos = " ".join(_mistyped(word, source) for word in row["caption"].split())
        if typos not in captions:
            yield query("typo", typos, {row["id"]: 3})
    for row in source.sample(rows, EACH):
        yield query("code", row["code"], {row["id"]: 3})
    for row in source.sample(rows, EACH):
        same = {other["id"]: 3 for other in rows if other["maker"] == row["maker"]}
        yield query("rare words", row["maker"], same)
    for category, products in _PRODUCTS.items():
        inside = {row["id"]: 1 for row in rows if row["category"] == category}
        yield query("category", category, inside)
        for product in products:
            made = {row["id"]: 3 for row in rows if f" {product} " in f" {row['caption']} "}
            yield query("category", product, inside | made)
    nonsense: dict[str, None] = {}
    while len(nonsense) < NONSENSE:
        nonsense.setdefault(_nonsense(source, along_a_row=len(nonsense) % 2 == 0))
    for text in nonsense:
        yield query("nonsense", text, {})


def _mistyped(word: str, source: random.Random) -> str:
    """A long word with a letter left out, doubled, swapped with the next, or another."""
    if not word.isalpha() or len(word) < LONG_WORD:
        return word
    at = source.randrange(1, len(word) - 1)
    before, letter, after, rest = word[:at], word[at], word[at + 1], word[at + 2 :]
    other = word
    while other == word:
        another = source.choice(_LETTERS)
        other = before + source.choice(
            [after + rest, letter * 2 + after + rest, after + letter + rest, another + after + rest]
        )
    return other


def _nonsense(source: random.Random, *, along_a_row: bool) -> str:
    """Fingers run along a keyboard, or letters that no language puts together."""
    words = []
    for _ in range(source.choice((1, 2))):
        if along_a_row:
            row = source.choice(_ROWS)
            at = source.randrange(len(row) - 5)
            words.append(row[at : at + source.randrange(5, 7)])
        else:
            words.append("".join(source.choices(_HARSH, k=source.randrange(5, 10))))
    return " ".join(words)
