"""A second catalogue to judge, unlike the demo: prints of its pictures, sold by made-up makers.

It guards against weights that fit one set of queries. Captions are longer and share most of their
words, titles end in codes, and makers have names that nobody has heard. Everything is decided by a
seed; the pictures are the demo's.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.mixed import COLUMNS

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


def write_products(demo: Path, table: Path, qrels: Path) -> None:
    """Write the catalogue's table and its judged queries."""
    source = random.Random(SEED)
    with (demo / "metadata.csv").open(encoding="utf-8", newline="") as stream:
        rows = [_product(row, source) for row in csv.DictReader(stream)]
    with table.open("w", encoding="utf-8", newline="") as stream:
        written = csv.DictWriter(stream, COLUMNS)
        written.writeheader()
        written.writerows({name: row[name] for name in COLUMNS} for row in rows)
    lines = [json.dumps(query, ensure_ascii=False) for query in _queries(rows, source)]
    qrels.write_text("\n".join(lines) + "\n", encoding="utf-8")


def mistyped(word: str, source: random.Random) -> str:
    """The word with a letter left out, doubled, swapped with the next, or another."""
    at = source.randrange(1, len(word) - 1)
    while True:
        other = source.choice(
            [
                word[:at] + word[at + 1 :],
                word[:at] + word[at] + word[at:],
                word[:at] + word[at + 1] + word[at] + word[at + 2 :],
                word[:at] + source.choice(_LETTERS) + word[at + 1 :],
            ]
        )
        if other != word:
            return other


def _product(row: dict[str, str], source: random.Random) -> dict[str, str]:
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
        "tags": "",
        "category": category,
        "code": code,
        "maker": maker,
    }


def _name(source: random.Random) -> str:
    parts = [source.choice(_STARTS) + source.choice(_VOWELS) for _ in range(source.choice((1, 2)))]
    return "".join(parts) + source.choice(_ENDS) + source.choice(("", "el", "ow", "ik"))


def _queries(rows: list[dict[str, str]], source: random.Random) -> Iterator[dict[str, Any]]:
    by_caption = {row["caption"] for row in rows}
    for row in source.sample(rows, EACH):
        words = row["caption"].split()
        typos = [
            mistyped(word, source) if word.isalpha() and len(word) >= LONG_WORD else word
            for word in words
        ]
        if (text := " ".join(typos)) not in by_caption:
            yield {"kind": "typo", "query": text, "relevant": {row["id"]: 3}}
    for row in source.sample(rows, EACH):
        yield {"kind": "code", "query": row["code"], "relevant": {row["id"]: 3}}
    for row in source.sample(rows, EACH):
        same = {other["id"]: 3 for other in rows if other["maker"] == row["maker"]}
        yield {"kind": "rare words", "query": row["maker"], "relevant": same}
    for category, products in _PRODUCTS.items():
        inside = {row["id"]: 1 for row in rows if row["category"] == category}
        yield {"kind": "category", "query": category, "relevant": inside}
        for product in products:
            made = {row["id"]: 3 for row in rows if f" {product} " in f" {row['caption']} "}
            yield {"kind": "category", "query": product, "relevant": inside | made}
    nonsense: dict[str, None] = {}
    while len(nonsense) < NONSENSE:
        nonsense.setdefault(_nonsense(source, along_a_row=len(nonsense) % 2 == 0))
    for text in nonsense:
        yield {"kind": "nonsense", "query": text, "relevant": {}}


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
