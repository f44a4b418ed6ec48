"""Distils a small text tower from the teacher, each text's vector moved toward its concepts.

Run: ``python -m training.text --minutes 20``, after ``training.corpus``. Texts that equal an
evaluation query are left out. A run that was stopped goes on from its last checkpoint.
"""

import argparse
import json
import math
import re
import time
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPModel, CLIPTokenizer

from training.corpus import CORPUS_FILE, TOKENIZER, plain
from training.image import save
from training.teacher import DIMENSION, embed, load_space, load_targets
from training.towers import TEXT_LENGTH, build_model
from training.workspace import QUERIES, WORK

CHECKPOINT: Final = WORK / "text.pt"
BATCH: Final = 256
PEAK_RATE: Final = 1.5e-3
WEIGHT_DECAY: Final = 0.02
WARM_UP: Final = 0.03
BUCKETS: Final = 6  # of like length
OWN_SHARE: Final = 0.4  # of each batch, at first: labels and tags; the rest general English
SCALE: Final = 20.0  # inverse temperature of the contrast inside a batch
COSINE_WEIGHT: Final = 4.0
CHECKPOINT_SECONDS: Final = 120


def encode_texts(model: CLIPModel, ids: Tensor) -> Tensor:
    """Text vectors (n, DIMENSION), L2-normalised, of token ids (n, length) padded with the end."""
    pooled = model.text_model(input_ids=ids).pooler_output
    return functional.normalize(model.text_projection(pooled).float(), dim=-1)


def tokenise(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token ids int16 (n, TEXT_LENGTH), padded with the end token."""
    batch = tokenizer(
        texts, padding="max_length", truncation=True, max_length=TEXT_LENGTH, return_tensors="np"
    )
    return torch.from_numpy(batch["input_ids"].astype(np.int16))


def cut(ids: Tensor, end: int) -> Tensor:
    """Drop the columns that only pad; int64."""
    length = int((ids != end).sum(dim=1).max()) + 1
    return ids[:, :length].long()


def queries() -> set[str]:
    """The evaluation queries, plain."""
    lines = QUERIES.read_text("utf-8").splitlines()
    return {plain(json.loads(line)["query"]) for line in lines}


def rephrased(texts: list[str]) -> list[str]:
    """The same texts as others would type them: no punctuation."""
    return [re.sub(r"[^\w\s'-]+", " ", text).strip() or text for text in texts]


@dataclass(frozen=True)
class Reading:
    """All texts as token ids with the teacher's vectors, and which rows serve what."""

    ids: Tensor  # int16 (n, TEXT_LENGTH)
    vectors: Tensor  # float32 (n, DIMENSION), what the tower is to answer
    own: Tensor  # rows of the catalogue's texts
    general: Tensor  # rows of general English
    held: Tensor  # rows of general English that are only measured


def load_reading(tokenizer: CLIPTokenizer) -> Reading:
    """The corpus without the evaluation queries."""
    stored, forbidden = np.load(CORPUS_FILE), queries()
    texts = stored["texts"].tolist()
    kept = torch.tensor([plain(text) not in forbidden for text in texts])
    rows, own = torch.arange(len(texts)), int(stored["own"])
    general = rows[kept & (rows >= own)]
    vectors = torch.from_numpy(stored["vectors"]).float()
    targets = load_targets()
    aims = [targets.toward_prototypes(part) for part in torch.split(vectors, 4096)]
    held, general = general[torch.randperm(len(general))].tensor_split([1000])
    return Reading(
        tokenise(tokenizer, rephrased(texts)),
        torch.cat(aims),
        rows[kept & (rows < own)],
        general,
        held,
    )


def text_loss(vectors: Tensor, right: Tensor) -> Tensor:
    """Distance to the teacher's vectors, plus telling the batch's texts apart as it does."""
    near = 1 - (vectors * right).sum(dim=-1).mean()
    apart = functional.cross_entropy(SCALE * vectors @ right.T, torch.arange(len(right)))
    return COSINE_WEIGHT * near + apart


@torch.no_grad()
def nearness(model: CLIPModel, ids: Tensor, right: Tensor) -> float:
    """Mean cosine between the tower's vectors and the teacher's."""
    return (encode_texts(model, ids) * right).sum(dim=-1).mean().item()


@torch.no_grad()
def start_from_words(model: CLIPModel, tokenizer: CLIPTokenizer) -> None:
    """Start as a bag of words: tokens hold the teacher's vectors, attention averages them."""
    names = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer) - 2)))
    pieces = [name.removesuffix("</w>") for name in names]
    vectors = torch.from_numpy(load_space().project(embed(pieces)))
    model.text_model.embeddings.token_embedding.weight[: len(pieces)] = vectors
    identity = torch.eye(DIMENSION)
    for layer in model.text_model.encoder.layers:
        attention = layer.self_attn
        for projection in (attention.q_proj, attention.k_proj):
            projection.weight.mul_(0.5)
        for projection in (attention.v_proj, attention.out_proj):
            projection.weight.mul_(0.3).add_(0.7 * identity)
    model.text_projection.weight.copy_(identity)


def build_optimisers(model: CLIPModel) -> list[torch.optim.Optimizer]:
    """Muon for the encoder's matrices, AdamW for the rest of the text tower."""
    named = [(n, p) for n, p in model.named_parameters() if n.startswith("text_")]
    matrices = [p for n, p in named if p.ndim == 2 and ".encoder." in n]
    others = [p for n, p in named if p.ndim < 2 or ".encoder." not in n]
    return [
        torch.optim.Muon(matrices, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def take_step(
    optimisers: list[torch.optim.Optimizer],
    parameters: list[nn.Parameter],
    loss: Tensor,
    rate: float,
) -> None:
    """Descend along the clipped gradient of ``loss``."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    for optimiser in optimisers:
        optimiser.step()


class Batches:
    """Draws batches of texts of like length: part catalogue, part general English."""

    def __init__(self, lengths: Tensor, own: Tensor, general: Tensor, own_share: float) -> None:
        self._shares = (own_share, 1 - own_share)
        self._parts = []
        for rows in (own, general):
            ordered = rows[lengths[rows].argsort(stable=True)]
            self._parts.append(ordered.tensor_split(BUCKETS))

    def draw(self) -> Tensor:
        """Rows of one batch, each at most once."""
        bucket = int(torch.randint(BUCKETS, ()))
        drawn = [
            part[bucket][torch.randint(len(part[bucket]), (int(BATCH * of),))]
            for part, of in zip(self._parts, self._shares, strict=True)
        ]
        rows: Tensor = torch.unique(torch.cat(drawn))
        return rows


def rate_at(progress: float, peak: float) -> float:
    """Linear warm-up, then cosine to zero; ``progress`` in 0..1."""
    if progress < WARM_UP:
        return peak * max(progress, 1e-4) / WARM_UP
    return peak * 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))


def main() -> None:
    """Train for the given minutes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--own-share", type=float, default=OWN_SHARE)
    parser.add_argument("--peak", type=float, default=PEAK_RATE, help="highest learning rate")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    minutes: float = arguments.minutes
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(7)
    tokenizer = CLIPTokenizer.from_pretrained(TOKENIZER)
    reading = load_reading(tokenizer)
    ids, vectors = reading.ids, reading.vectors
    model = build_model(len(tokenizer))
    model.set_attn_implementation("eager")  # whose backward pass is the faster one on a processor
    optimisers = build_optimisers(model)
    parameters = [p for n, p in model.named_parameters() if n.startswith("text_")]
    seen, elapsed = 0, 0.0
    if CHECKPOINT.exists():
        state = torch.load(CHECKPOINT, weights_only=True)
        model.load_state_dict(state["tower"], strict=False)
        for optimiser, part in zip(optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(part)
        seen, elapsed = state["seen"], state["elapsed"]
    else:
        start_from_words(model, tokenizer)
    end = len(tokenizer) - 1
    batches = Batches((ids != end).sum(dim=1), reading.own, reading.general, arguments.own_share)
    last_saved, running = elapsed, 0.0
    while elapsed < minutes * 60:
        before = time.monotonic()
        rate = rate_at(elapsed / (minutes * 60), arguments.peak)
        rows = batches.draw()
        with torch.autocast("cpu", torch.bfloat16):
            found = encode_texts(model, cut(ids[rows], end))
        loss = text_loss(found, vectors[rows])
        take_step(optimisers, parameters, loss, rate)
        seen += len(rows)
        running = 0.98 * running + 0.02 * loss.item() if running else loss.item()
        elapsed += time.monotonic() - before
        if elapsed - last_saved < CHECKPOINT_SECONDS and elapsed < minutes * 60:
            continue
        last_saved = elapsed
        model.train(mode=False)
        unseen, catalogue = (
            nearness(model, cut(ids[part], end), vectors[part])
            for part in (reading.held, reading.own[:1000])
        )
        model.train()
        tower = {k: v.clone() for k, v in model.state_dict().items() if k.startswith("text_")}
        progress: dict[str, Any] = {"seen": seen, "elapsed": elapsed}
        progress |= {"optimisers": [optimiser.state_dict() for optimiser in optimisers]}
        save(CHECKPOINT, {"tower": tower} | progress)
        print(
            f"{elapsed / 60:.1f} min, {seen} texts, loss {running:.3f}, cosine to the teacher: "
            f"unseen {unseen:.3f}, catalogue {catalogue:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
