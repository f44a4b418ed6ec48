"""Trains the image tower to meet the frozen text teacher.

Run: ``python -m training.image --minutes 75``. Progress is wall-clock time, so the schedule
fits the hours at hand; a run that was stopped goes on from its last checkpoint. Each worker is
a process with one thread that computes its share of the batch; gradients are averaged.
"""

import argparse
import math
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.multiprocessing
from torch import Tensor, distributed
from torch.nn import functional
from transformers import CLIPModel

from training.augment import SIDE, augment, normalise
from training.pictures import STYLES
from training.teacher import ConceptTargets, load_targets
from training.towers import build_model, encode_images, start_like_trained
from training.workspace import PICTURES, WORK

CHECKPOINT: Final = WORK / "image.pt"
HELD_OUT_STYLE: Final = "firefox"  # for choosing; neither trained on nor the final test
BATCH: Final = 256
PEAK_RATE: Final = 1.5e-3
WEIGHT_DECAY: Final = 0.06
WARM_UP: Final = 0.03  # of the run
FULL_TOKENS: Final = 0.15  # of the run, at its end, with every patch
CHECKPOINT_SECONDS: Final = 180
LABEL_SCALE: Final = 20.0  # inverse temperature of the softmax over labels
TAG_SCALE: Final = 12.0  # likewise over tags
TAG_WEIGHT: Final = 0.5
SMOOTHING: Final = 0.1


def load_pairs(styles: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """Drawings uint8 (n, h, w, 4) and their concepts int64 (n,)."""
    stored = [np.load(PICTURES / f"{style}.npz") for style in styles]
    return (
        torch.from_numpy(np.concatenate([part["images"] for part in stored])),
        torch.from_numpy(np.concatenate([part["concepts"] for part in stored])),
    )


def on_white(drawings: Tensor) -> Tensor:
    """Drawings uint8 (n, h, w, 4) on white as model input, unaugmented."""
    colours = drawings.permute(0, 3, 1, 2).float() / 255
    flat = colours[:, :3] * colours[:, 3:] + 1 - colours[:, 3:]
    return normalise(functional.interpolate(flat, (SIDE, SIDE), mode="bilinear", antialias=True))


def image_loss(vectors: Tensor, concepts: Tensor, targets: ConceptTargets) -> Tensor:
    """Softmax over every label, plus softmax over every tag with all own tags right."""
    by_label = functional.cross_entropy(
        LABEL_SCALE * vectors @ targets.labels.T, concepts, label_smoothing=SMOOTHING
    )
    own = targets.tag_weights[concepts]
    logs = functional.log_softmax(TAG_SCALE * vectors @ targets.tags.T, dim=-1)
    by_tag = -(own * logs).sum(dim=-1).mean()
    return by_label + TAG_WEIGHT * by_tag


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
    model.eval()
    vectors = torch.cat([encode_images(model, on_white(part)) for part in drawings.split(256)])
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


def train(rank: int, workers: int, minutes: float) -> None:
    """One worker's run; the first one also reports and writes checkpoints."""
    torch.set_num_threads(1)
    store = distributed.FileStore(str(WORK / "rendezvous"), workers)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=workers)
    torch.manual_seed(3)  # the same first weights everywhere
    targets = load_targets()
    drawings, concepts = load_pairs(tuple(s for s in STYLES if s != HELD_OUT_STYLE))
    held_drawings, held_concepts = load_pairs((HELD_OUT_STYLE,))
    # The text tower is not trained here; a tiny vocabulary keeps it out of the way.
    model = build_model(16)
    start_like_trained(model)
    parts = [model.vision_model, model.visual_projection]
    parameters = [parameter for part in parts for parameter in part.parameters()]
    decayed = [p for p in parameters if p.ndim > 1]
    plain = [p for p in parameters if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": plain, "weight_decay": 0}],
        lr=PEAK_RATE,
        betas=(0.9, 0.98),
    )
    average_gradients = Averager([*parameters], workers)
    smooth = [parameter.detach().clone() for parameter in parameters]
    seen, elapsed = 0, 0.0
    if CHECKPOINT.exists():
        state = torch.load(CHECKPOINT, weights_only=True)
        for own, stored in zip(parameters, state["parameters"], strict=True):
            own.data.copy_(stored)
        smooth = state["smooth"]
        optimiser.load_state_dict(state["optimiser"])
        seen, elapsed = state["seen"], state["elapsed"]
    torch.manual_seed(1000 * (seen + 1) + rank)  # other pictures in each worker
    last_saved, running, before = elapsed, 0.0, time.monotonic()
    while elapsed < minutes * 60:
        progress = elapsed / (minutes * 60)
        for group in optimiser.param_groups:
            group["lr"] = rate_at(progress)
        halves = progress < 1 - FULL_TOKENS
        batch = torch.randint(len(drawings), (BATCH // workers // (1 + halves),))
        images = augment(drawings[batch])
        with torch.autocast("cpu", torch.bfloat16):
            vectors = encode_images(model, images, halves=halves)
        right = concepts[batch].repeat(1 + halves)
        loss = image_loss(vectors, right, targets)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        now = time.monotonic()
        elapsed += average_gradients(now - before)  # one clock for all workers
        before = now
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        steps = seen // BATCH
        torch._foreach_lerp_(smooth, parameters, 1 - min(0.998, (1 + steps) / (10 + steps)))
        seen += BATCH
        running = 0.98 * running + 0.02 * loss.item() if running else loss.item()
        if elapsed - last_saved < CHECKPOINT_SECONDS and elapsed < minutes * 60:
            continue
        last_saved = elapsed
        if rank:
            continue
        current = [parameter.detach().clone() for parameter in parameters]
        for own, value in zip(parameters, smooth, strict=True):
            own.data.copy_(value)
        first, five = recall(model, held_drawings, held_concepts, targets.labels)
        tower = {k: v.clone() for k, v in model.state_dict().items() if k.startswith("vis")}
        for own, value in zip(parameters, current, strict=True):
            own.data.copy_(value)
        save(
            CHECKPOINT,
            {
                "parameters": current,
                "smooth": smooth,
                "tower": tower,
                "optimiser": optimiser.state_dict(),
                "seen": seen,
                "elapsed": elapsed,
            },
        )
        print(
            f"{elapsed / 60:.1f} min, {seen} samples, loss {running:.3f}, "
            f"{HELD_OUT_STYLE} R@1 {first:.3f} R@5 {five:.3f}",
            flush=True,
        )
    distributed.destroy_process_group()


def main() -> None:
    """Train for the given minutes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=75.0)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    (WORK / "rendezvous").unlink(missing_ok=True)
    torch.multiprocessing.spawn(
        train, args=(arguments.workers, arguments.minutes), nprocs=arguments.workers
    )


if __name__ == "__main__":
    main()
