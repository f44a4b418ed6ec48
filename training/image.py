"""Trains the image tower to meet the frozen text teacher and to see as the vision teacher does.

Run: ``python -m training.image --minutes 90``. Progress is wall-clock time, so the schedule
fits the hours at hand; a run that was stopped goes on from its last checkpoint. Each worker is
a process with one thread that computes its share of the batch; gradients are averaged.
"""

import argparse
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, distributed, multiprocessing
from torch.nn import functional
from transformers import CLIPModel

from training.augment import SIDE, jitter, normalise
from training.pictures import HELD_OUT_STYLE, load_pairs
from training.teacher import PROTOTYPE_SCALE, ConceptTargets, load_targets
from training.towers import build_model, encode_patches, image_vectors, start_like_trained
from training.vision_teacher import CELL_DIMENSION, POOLED_DIMENSION, VIEWS, as_colours
from training.workspace import WORK

CHECKPOINT: Final = WORK / "image.pt"
BATCH: Final = 448
PEAK_RATE: Final = 2e-3
WEIGHT_DECAY: Final = 0.05
WARM_UP: Final = 0.03  # of the run
FULL_TOKENS: Final = 0.15  # of the run, at its end, with every patch
CHECKPOINT_SECONDS: Final = 180
LONGEST_STEP: Final = 10.0  # seconds; what goes beyond was a pause and does not count
CELL_WEIGHT: Final = 4.0  # of the vision teacher's features at each patch
POOLED_WEIGHT: Final = 4.0  # of its features of the whole
TAG_SCALE: Final = 12.0  # likewise over tags
TAG_WEIGHT: Final = 1.0
SMOOTHING: Final = 0.1  # of labels
SMOOTHING_OF_WEIGHTS: Final = 0.998  # what a step keeps of the running average


def on_white(drawings: Tensor) -> Tensor:
    """Drawings uint8 (n, h, w, 4) on white as model input, unaugmented."""
    colours = drawings.permute(0, 3, 1, 2).float() / 255
    flat = colours[:, :3] * colours[:, 3:] + 1 - colours[:, 3:]
    return normalise(functional.interpolate(flat, (SIDE, SIDE), mode="bilinear", antialias=True))


def image_loss(vectors: Tensor, concepts: Tensor, targets: ConceptTargets) -> Tensor:
    """Four softmaxes: which prototype and which tags a picture shows, and who shows each.

    The first two compare words for one picture, the last two the batch's pictures for one word,
    which is what a search does.
    """
    near = PROTOTYPE_SCALE * vectors @ targets.prototypes.T
    by_prototype = functional.cross_entropy(near, concepts, label_smoothing=SMOOTHING)
    own = targets.tag_weights[concepts]
    near_tags = TAG_SCALE * vectors @ targets.tags.T
    by_tag = -(own * functional.log_softmax(near_tags, dim=-1)).sum(dim=-1).mean()
    asked: Tensor = torch.unique(concepts)
    of_prototype = _softmax_over_pictures(near[:, asked], concepts.unsqueeze(1) == asked)
    carried = own > 0
    some = carried.any(dim=0)
    of_tag = _softmax_over_pictures(near_tags[:, some], carried[:, some])
    return by_prototype + of_prototype + TAG_WEIGHT * (by_tag + of_tag)


def _softmax_over_pictures(near: Tensor, right: Tensor) -> Tensor:
    """Cross-entropy of each column of logits (pictures, words), all its right pictures alike."""
    share = right / right.sum(dim=0)
    return -(share * functional.log_softmax(near, dim=0)).sum(dim=0).mean()


class ImageTower(torch.nn.Module):
    """The model's image side with two linear heads that speak to the vision teacher."""

    def __init__(self) -> None:
        super().__init__()
        # The text tower is not trained here; a tiny vocabulary keeps it out of the way.
        self.model = build_model(16)
        start_like_trained(self.model)
        # Backward through the fused attention is the slower one on a processor.
        self.model.set_attn_implementation("eager")
        width = self.model.vision_model.config.hidden_size
        self.cells = torch.nn.Linear(width, CELL_DIMENSION)
        self.pooled = torch.nn.Linear(width, POOLED_DIMENSION)

    def weights(self) -> dict[str, Tensor]:
        """What is trained, by name."""
        return {
            name: value
            for name, value in self.named_parameters()
            if not name.startswith("model.") or name.startswith("model.vis")
        }


@dataclass(frozen=True)
class Views:
    """Views and what the vision teacher saw in them; memory-mapped, shared by the workers."""

    images: np.ndarray  # uint8 (n, SIDE, SIDE, 3)
    concepts: np.ndarray  # int64 (n,), -1 where a view shows two drawings
    cells: np.ndarray  # float16 (n, patches, CELL_DIMENSION)
    pooled: np.ndarray  # float16 (n, POOLED_DIMENSION)

    def loss(self, tower: ImageTower, size: int, targets: ConceptTargets, halves: bool) -> Tensor:
        """Loss of ``size`` random views: labels and tags, and both kinds of features."""
        at = torch.randint(len(self.images), (size,)).sort().values.numpy()
        images = normalise(jitter(as_colours(torch.from_numpy(self.images[at]))))
        concepts = torch.from_numpy(self.concepts[at])
        cells = torch.from_numpy(self.cells[at]).float()
        pooled = torch.from_numpy(self.pooled[at]).float()
        if halves:
            concepts, cells, pooled = concepts.repeat(2), cells.repeat(2, 1, 1), pooled.repeat(2, 1)
        with torch.autocast("cpu", torch.bfloat16):
            hidden, positions = encode_patches(tower.model, images, halves=halves)
            vectors = image_vectors(tower.model, hidden)
            norm = tower.model.vision_model.post_layernorm
            seen_cells = tower.cells(norm(hidden[:, 1:])).float()
            seen_pooled = tower.pooled(norm(hidden[:, 0])).float()
        cells = cells.gather(1, positions.unsqueeze(-1).expand(-1, -1, CELL_DIMENSION))
        single = concepts >= 0
        return (
            image_loss(vectors[single], concepts[single], targets)
            + CELL_WEIGHT * functional.mse_loss(seen_cells, cells)
            + POOLED_WEIGHT * functional.mse_loss(seen_pooled, pooled)
        )


def load_views() -> Views:
    """The views that ``training.vision_teacher`` wrote."""
    names = ("images", "concepts", "cells", "pooled")
    return Views(*(np.load(VIEWS / f"{name}.npy", mmap_mode="r") for name in names))


def build_optimisers(tower: ImageTower) -> list[torch.optim.Optimizer]:
    """Muon for the encoder's matrices, AdamW for the rest of the image tower."""
    matrices, others, plain = [], [], []
    for name, parameter in tower.weights().items():
        if parameter.ndim < 2:
            plain.append(parameter)
        elif ".encoder." in name:
            matrices.append(parameter)
        else:
            others.append(parameter)
    return [
        torch.optim.Muon(matrices, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(
            [
                {"params": others, "weight_decay": WEIGHT_DECAY},
                {"params": plain, "weight_decay": 0.0},
            ],
            betas=(0.9, 0.98),
        ),
    ]


def rate_at(progress: float) -> float:
    """Learning rate: linear warm-up, then cosine to zero; ``progress`` in 0..1."""
    if progress < WARM_UP:
        return PEAK_RATE * max(progress, 1e-4) / WARM_UP
    return PEAK_RATE * 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))


@torch.no_grad()
def recall(
    model: CLIPModel, drawings: Tensor, concepts: Tensor, labels: Tensor
) -> tuple[float, float]:
    """Label to image R@1 and R@5 among the given drawings, one a concept."""
    model.train(mode=False)
    vectors = torch.cat(
        [
            image_vectors(model, encode_patches(model, on_white(part), halves=False)[0])
            for part in torch.split(drawings, 256)
        ]
    )
    model.train()
    ranks = (labels[concepts] @ vectors.T).argsort(dim=1, descending=True)
    hits = concepts[ranks] == concepts.unsqueeze(1)
    return hits[:, 0].float().mean().item(), hits[:, :5].any(dim=1).float().mean().item()


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint beside, then rename it."""
    beside = path.with_suffix(".tmp")
    torch.save(state, beside)
    beside.replace(path)


class Averager:
    """Averages gradients and one number over the workers, in one message."""

    def __init__(self, parameters: list[Tensor], workers: int) -> None:
        self._parameters = parameters
        self._workers = workers

    def __call__(self, number: float) -> float:
        """Average all gradients in place and return the average of ``number``."""
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        flat = torch.cat([g.reshape(-1) for g in gradients] + [torch.tensor([number])])
        distributed.all_reduce(flat)
        flat /= self._workers
        start = 0
        for gradient in gradients:
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
            start += gradient.numel()
        return flat[-1].item()


class ImageTraining:
    """The image tower with its optimisers, its smoothed weights and how far it has come."""

    def __init__(self, workers: int) -> None:
        self.tower = ImageTower()
        self.optimisers = build_optimisers(self.tower)
        self.parameters = list(self.tower.weights().values())
        self.smooth = [parameter.detach().clone() for parameter in self.parameters]
        self.seen = 0  # samples
        self.elapsed = 0.0  # seconds
        self._average = Averager(self.parameters, workers)
        self._before = time.monotonic()

    def update(self, loss: Tensor, rate: float, samples: int) -> None:
        """One step of every worker, on averaged gradients and one clock."""
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        now = time.monotonic()
        self.elapsed += min(self._average(now - self._before), LONGEST_STEP)
        self._before = now
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
        steps = self.seen // BATCH
        share = 1 - min(SMOOTHING_OF_WEIGHTS, (1 + steps) / (10 + steps))
        with torch.no_grad():
            torch._foreach_lerp_(self.smooth, self.parameters, share)
        self.seen += samples

    @contextmanager
    def smoothed(self) -> Iterator[CLIPModel]:
        """The model with its smoothed weights, for as long as the block lasts."""
        current = [parameter.detach().clone() for parameter in self.parameters]
        for own, value in zip(self.parameters, self.smooth, strict=True):
            own.data.copy_(value)
        yield self.tower.model
        for own, value in zip(self.parameters, current, strict=True):
            own.data.copy_(value)

    def save(self) -> None:
        """Write the checkpoint; ``tower`` in it is what ships."""
        with self.smoothed() as model:
            tower = {k: v.clone() for k, v in model.state_dict().items() if k.startswith("vis")}
        save(
            CHECKPOINT,
            {
                "parameters": [parameter.detach() for parameter in self.parameters],
                "smooth": self.smooth,
                "tower": tower,
                "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
                "seen": self.seen,
                "elapsed": self.elapsed,
            },
        )

    def resume(self, start: Path | None) -> None:
        """Go on from the checkpoint if there is one, else begin with the tower of ``start``."""
        if not CHECKPOINT.exists():
            if start is not None:
                tower = torch.load(start, weights_only=True)["tower"]
                self.tower.model.load_state_dict(tower, strict=False)
                self.smooth = [parameter.detach().clone() for parameter in self.parameters]
            return
        state = torch.load(CHECKPOINT, weights_only=True)
        for own, stored in zip(self.parameters, state["parameters"], strict=True):
            own.data.copy_(stored)
        for optimiser, stored in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(stored)
        self.smooth = [value.detach() for value in state["smooth"]]
        self.seen, self.elapsed = state["seen"], state["elapsed"]


def train(rank: int, workers: int, minutes: float, start: Path | None) -> None:
    """One worker's run; the first one also reports and writes checkpoints."""
    torch.set_num_threads(1)
    meeting = (WORK / "rendezvous").as_uri()
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=workers)
    torch.manual_seed(3)  # the same first weights everywhere
    run = ImageTraining(workers)
    run.resume(start)
    targets = load_targets()
    views = load_views()
    held_drawings, held_concepts = load_pairs((HELD_OUT_STYLE,))
    torch.manual_seed(1000 * (run.seen + 1) + rank)  # other pictures in each worker
    last_saved, running = run.elapsed, 0.0
    while run.elapsed < minutes * 60:
        progress = run.elapsed / (minutes * 60)
        halves = progress < 1 - FULL_TOKENS
        loss = views.loss(run.tower, BATCH // workers // (1 + halves), targets, halves)
        run.update(loss, rate_at(progress), BATCH)
        running = 0.98 * running + 0.02 * loss.item() if running else loss.item()
        if run.elapsed - last_saved < CHECKPOINT_SECONDS and run.elapsed < minutes * 60:
            continue
        last_saved = run.elapsed
        if rank:
            continue
        run.save()
        with run.smoothed() as model:
            first, five = recall(model, held_drawings, held_concepts, targets.labels)
        print(
            f"{run.elapsed / 60:.1f} min, {run.seen} samples, loss {running:.3f}, "
            f"{HELD_OUT_STYLE} R@1 {first:.3f} R@5 {five:.3f}",
            flush=True,
        )
    distributed.destroy_process_group()


def main() -> None:
    """Train for the given minutes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=75.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--start", type=Path, help="checkpoint whose tower to begin with")
    arguments = parser.parse_args()
    (WORK / "rendezvous").unlink(missing_ok=True)
    multiprocessing.start_processes(  # type: ignore[attr-defined, no-untyped-call]
        train,
        args=(arguments.workers, arguments.minutes, arguments.start),
        nprocs=arguments.workers,
        start_method="spawn",
    )


if __name__ == "__main__":
    main()
