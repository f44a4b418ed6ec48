"""Measures the shipped model on the style it has never seen.

Run: ``python -m training.evaluate``. Prints the table of ``training/README.md``. Everything is
read from ``embeddings/starter/``, ``demo/`` and ``training/queries.jsonl``.
"""

import argparse
import csv
import json
import math
import os
import re
import statistics
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import django
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel

from embeddings.encoders.serving.openvino_runtime import compile_network, load_openvino
from training.workspace import DEMO, QUERIES, STARTER, WORK

REPEATS: Final = 60  # timed calls
TIMED_BATCH: Final = 16


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


class Embedder:
    """Texts and pictures to L2-normalised float32 vectors with one CLIP model."""

    def __init__(self, model: CLIPModel, directory: Path = STARTER) -> None:
        self.model = model
        self.model.train(mode=False)
        self.tokenizer = AutoTokenizer.from_pretrained(directory)
        self._processor = CLIPImageProcessorPil.from_pretrained(directory)

    def pixels(self, items: list[Item]) -> Tensor:
        """Model input float32 (n, 3, side, side), transparency laid on white."""
        pictures = []
        for item in items:
            with Image.open(DEMO / "images" / item.filename) as picture:
                rgba = picture.convert("RGBA")
            white = Image.new("RGBA", rgba.size, "white")
            pictures.append(Image.alpha_composite(white, rgba).convert("RGB"))
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


class _ImageTower(nn.Module):
    def __init__(self, model: CLIPModel) -> None:
        super().__init__()
        self._model = model

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Image vectors before normalisation."""
        found: Tensor = self._model.get_image_features(pixel_values=pixel_values).pooler_output
        return found


class _TextTower(nn.Module):
    def __init__(self, model: CLIPModel) -> None:
        super().__init__()
        self._model = model

    def forward(self, input_ids: Tensor) -> Tensor:
        """Text vectors before normalisation."""
        found: Tensor = self._model.get_text_features(input_ids=input_ids).pooler_output
        return found


def _network(tower: nn.Module, example: Tensor, name: str) -> Callable[[np.ndarray], np.ndarray]:
    """The tower converted to OpenVINO in full precision, in one thread."""
    path = WORK / f"{name}.xml"
    openvino = load_openvino()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = openvino.convert_model(tower, example_input=example, input=[-1, *example.shape[1:]])
    openvino.save_model(model, path, compress_to_fp16=False)
    compiled = compile_network(path, "fp32", threads=1)

    def run(inputs: np.ndarray) -> np.ndarray:
        found: np.ndarray = compiled([inputs])[0]
        return found

    return run


def _milliseconds(call: Callable[[], object], batch: int) -> float:
    """Median processor time of one input, in a batch, after warm-up."""
    for _ in range(5):
        call()
    taken = []
    for _ in range(REPEATS):
        before = time.process_time()
        call()
        taken.append(time.process_time() - before)
    return statistics.median(taken) / batch * 1000


@torch.inference_mode()
def report_runtimes(embedder: Embedder, items: list[Item]) -> None:
    """Print agreement of torch and OpenVINO, and what one input costs on one core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    pixels = embedder.pixels(items[:64])
    ids = embedder.tokenizer(
        [item.caption for item in items[:64]], padding=True, return_tensors="pt"
    )["input_ids"]
    image, text = _ImageTower(embedder.model), _TextTower(embedder.model)
    for name, tower, inputs in (("image", image, pixels), ("text", text, ids)):
        network = _network(tower, inputs, name)
        found = torch.from_numpy(network(inputs.numpy()))
        cosine = functional.cosine_similarity(tower(inputs), found, dim=-1).min().item()
        print(f"{name}: torch against OpenVINO, lowest cosine of {len(inputs)}: {cosine:.7f}")
        for size in (1, TIMED_BATCH):
            part = inputs[:size].contiguous()

            def by_torch(part: Tensor = part, tower: nn.Module = tower) -> object:
                return tower(part)

            def by_openvino(
                part: Tensor = part, network: Callable[[np.ndarray], np.ndarray] = network
            ) -> object:
                return network(part.numpy())

            print(
                f"{name}: batch of {size}: torch {_milliseconds(by_torch, size):.2f} ms, "
                f"OpenVINO {_milliseconds(by_openvino, size):.2f} ms each, one thread"
            )
    torch.set_num_threads(threads)


def report_application(items: list[Item]) -> None:
    """Print what one input costs in the application, from picture or words to vector."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mmsearch_project.settings")
    django.setup()
    from embeddings.backends import build_encoder
    from embeddings.encoders.base import Modality

    encoder = build_encoder("starter")
    with Image.open(DEMO / "images" / items[0].filename) as opened:
        picture = opened.convert("RGB")
    image = _milliseconds(lambda: encoder.encode(Modality.IMAGE, [picture]), 1)
    text = _milliseconds(lambda: encoder.encode(Modality.TEXT, [items[0].caption]), 1)
    precision = encoder.describe().precision
    print(f"application, {precision}: picture {image:.2f} ms, text {text:.2f} ms, one thread")


def main() -> None:
    """Print every figure."""
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
    score = starter.scorer(items)
    print(measure(items, queries, score).row("starter"))
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
    report_application(items)


if __name__ == "__main__":
    main()
