"""Measures the shipped model on the style it has never seen.

Run: ``python -m training.evaluate``. Prints the tables of ``training/README.md``. Everything is
read from ``embeddings/starter/``, ``demo/`` and ``training/queries.jsonl``.
"""

import argparse
import csv
import json
import math
import os
import re
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import django
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel

from embeddings.encoders.base import Encoder, Modality, Purpose
from training.workspace import DEMO, QUERIES, STARTER


@dataclass(frozen=True)
class Item:
    """One picture of the catalogue with its words."""

    identifier: str
    filename: str
    caption: str
    tags: frozenset[str]


@dataclass(frozen=True)
class Query:
    """A hand-written query and the pictures that answer it."""

    text: str
    accepted: frozenset[str]


@dataclass(frozen=True)
class Figures:
    """One row of the table; all between 0 and 1."""

    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    tag_precision_at_10: float
    query_success_at_5: float

    def row(self, name: str) -> str:
        """As a line of a Markdown table."""
        numbers = (
            self.recall_at_1,
            self.recall_at_5,
            self.recall_at_10,
            self.tag_precision_at_10,
            self.query_success_at_5,
        )
        return f"| {name} | " + " | ".join(f"{number:.3f}" for number in numbers) + " |"


Scorer = Callable[[Sequence[str]], np.ndarray]
"""Texts to scores, float (texts, items); higher is nearer."""


def load_items() -> list[Item]:
    """The demo catalogue in its order."""
    with (DEMO / "metadata.csv").open(encoding="utf-8", newline="") as stream:
        return [
            Item(
                row["id"], row["image_filename"], row["caption"], frozenset(row["tags"].split(","))
            )
            for row in csv.DictReader(stream)
        ]


def load_queries() -> list[Query]:
    """The hand-written queries."""
    lines = [json.loads(line) for line in QUERIES.read_text("utf-8").splitlines()]
    return [Query(line["query"], frozenset(line["accepted"])) for line in lines]


def best(scores: np.ndarray, k: int) -> np.ndarray:
    """Positions of the k highest scores a row, best first; ties in catalogue order."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def measure(items: list[Item], queries: list[Query], score: Scorer) -> Figures:
    """All five figures of one way to score."""
    ranked = best(score([item.caption for item in items]), 10)
    hit = ranked == np.arange(len(items))[:, None]
    tags = sorted({tag for item in items for tag in item.tags if tag})
    precision = []
    for tag, top in zip(tags, best(score(tags), 10), strict=True):
        reachable = min(10, sum(tag in item.tags for item in items))
        precision.append(sum(tag in items[at].tags for at in top) / reachable)
    success = [
        any(items[at].identifier in query.accepted for at in top)
        for query, top in zip(queries, best(score([q.text for q in queries]), 5), strict=True)
    ]
    return Figures(
        float(hit[:, :1].any(axis=1).mean()),
        float(hit[:, :5].any(axis=1).mean()),
        float(hit.any(axis=1).mean()),
        statistics.fmean(precision),
        statistics.fmean(success),
    )


def words(text: str) -> list[str]:
    """Lower-case words of a text."""
    return re.findall(r"[a-z0-9]+", text.lower())


def bag_of_words(items: list[Item]) -> Scorer:
    """Words that query and tags share, rarer words counting more; no model at all."""
    bags = [{word for tag in item.tags for word in words(tag)} for item in items]
    frequency = Counter(word for bag in bags for word in bag)
    weight = {word: math.log(len(items) / count) for word, count in frequency.items()}

    def score(texts: Sequence[str]) -> np.ndarray:
        return np.array(
            [
                [math.fsum(weight[word] for word in asked & bag) for bag in bags]
                for asked in (set(words(text)) for text in texts)
            ]
        )

    return score


def picture_of(item: Item) -> Image.Image:
    """Upright and RGB, transparency laid on white."""
    with Image.open(DEMO / "images" / item.filename) as picture:
        rgba = picture.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")


def scorer_as_served(encoder: Encoder, items: list[Item]) -> Scorer:
    """Cosine between text and picture, of the networks that the application runs."""
    pictures = encoder.encode(Modality.IMAGE, [picture_of(item) for item in items])
    return lambda texts: (
        encoder.encode(Modality.TEXT, list(texts), purpose=Purpose.QUERY) @ pictures.T
    )


class Embedder:
    """Texts and pictures to L2-normalised float32 vectors with one CLIP model."""

    def __init__(self, model: CLIPModel, directory: Path = STARTER) -> None:
        self.model = model
        self.model.train(mode=False)
        self.tokenizer = AutoTokenizer.from_pretrained(directory)
        self._processor = CLIPImageProcessorPil.from_pretrained(directory)

    def pixels(self, items: list[Item]) -> Tensor:
        """Model input float32 (n, 3, side, side)."""
        pictures = [picture_of(item) for item in items]
        found: Tensor = self._processor(pictures, return_tensors="pt")["pixel_values"]
        return found

    @torch.inference_mode()
    def images(self, items: list[Item]) -> Tensor:
        """Vectors float32 (n, d)."""
        found = [
            self.model.get_image_features(pixel_values=part).pooler_output
            for part in torch.split(self.pixels(items), 128)
        ]
        return functional.normalize(torch.cat(found), dim=-1)

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """Vectors float32 (n, d)."""
        found = []
        for start in range(0, len(texts), 256):
            part = list(texts[start : start + 256])
            batch = self.tokenizer(part, padding=True, truncation=True, return_tensors="pt")
            found.append(self.model.get_text_features(**batch).pooler_output)
        return functional.normalize(torch.cat(found), dim=-1)

    def scorer(self, items: list[Item]) -> Scorer:
        """Cosine between text and picture."""
        pictures = self.images(items)
        return lambda texts: (self.texts(texts) @ pictures.T).numpy()


def main() -> None:
    """Print every figure."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mmsearch_project.settings")
    django.setup()
    from embeddings.backends import build_encoder
    from training.runtimes import report_application, report_runtimes

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--misses", action="store_true", help="also list the queries missed")
    arguments = parser.parse_args()
    items, queries = load_items(), load_queries()
    starter = Embedder(CLIPModel.from_pretrained(STARTER, dtype=torch.float32))
    torch.manual_seed(0)
    untrained = Embedder(CLIPModel(starter.model.config))
    print(f"{len(items)} pictures, {len(queries)} queries")
    print("| | R@1 | R@5 | R@10 | tag P@10 | queries S@5 |")
    print("| --- | --- | --- | --- | --- | --- |")
    print(measure(items, queries, untrained.scorer(items)).row("random weights"))
    print(measure(items, queries, bag_of_words(items)).row("bag of words on the tags"))
    print(measure(items, queries, starter.scorer(items)).row("starter, fp32 by torch"))
    shipped = build_encoder("starter")
    score = scorer_as_served(shipped, items)
    precision = shipped.describe().precision
    print(measure(items, queries, score).row(f"**starter**, {precision} as it ships"))
    captions = starter.texts([item.caption for item in items])
    blind = measure(items, queries, lambda texts: (starter.texts(texts) @ captions.T).numpy())
    print(blind.row("starter, captions in place of pictures"))
    tags = torch.stack([starter.texts(sorted(item.tags)).mean(dim=0) for item in items])
    words_of = functional.normalize(captions + functional.normalize(tags, dim=-1), dim=-1)
    blind = measure(items, queries, lambda texts: (starter.texts(texts) @ words_of.T).numpy())
    print(blind.row("starter, captions and tags in place of pictures"))
    if arguments.misses:
        for query, top in zip(queries, best(score([q.text for q in queries]), 5), strict=True):
            if not any(items[at].identifier in query.accepted for at in top):
                print(f"{query.text}: " + ", ".join(items[at].caption for at in top))
    report_runtimes(starter, items)
    report_application(shipped, items)


if __name__ == "__main__":
    main()
