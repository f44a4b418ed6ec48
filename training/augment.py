"""Augmentation of drawings, a batch at a time, in torch.

Drawings come flat on a transparent ground; the unseen style is shaded, glossy, and seen a
little from the side. So the recipe bends geometry, shades with soft light, shifts colours
and puts every kind of ground behind.
"""

import math
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

SIDE: Final = 72  # pixels, the image side of the model
MEAN: Final = (0.5, 0.5, 0.5)
STD: Final = (0.25, 0.25, 0.25)


def _uniform(shape: tuple[int, ...], low: float, high: float) -> Tensor:
    return torch.rand(shape) * (high - low) + low


def _sometimes(n: int, chance: float) -> Tensor:
    """Float (n, 1, 1, 1): one where the change applies."""
    return (torch.rand(n, 1, 1, 1) < chance).float()


def _warp_grid(n: int, strength: float) -> Tensor:
    """Sampling grids (n, SIDE, SIDE, 2): rotation, scale, shear, shift, slight perspective."""
    angle = torch.randn(n) * 0.18 * strength
    zoom = torch.exp(_uniform((n,), -0.12, 0.30 * strength))
    stretch = torch.exp(torch.randn(n) * 0.07 * strength)
    shear = torch.randn(n) * 0.10 * strength
    cos, sin = torch.cos(angle), torch.sin(angle)
    matrix = torch.zeros(n, 3, 3)
    matrix[:, 0, 0] = cos * zoom * stretch
    matrix[:, 0, 1] = (-sin + shear) * zoom
    matrix[:, 1, 0] = sin * zoom
    matrix[:, 1, 1] = cos * zoom / stretch
    matrix[:, :2, 2] = _uniform((n, 2), -0.14, 0.14) * strength
    matrix[:, 2, :2] = torch.randn(n, 2) * 0.08 * strength
    matrix[:, 2, 2] = 1.0
    axis = (torch.arange(SIDE) + 0.5) * 2 / SIDE - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)], dim=-1).view(1, -1, 3)
    moved = points @ matrix.transpose(1, 2)
    grid = moved[..., :2] / moved[..., 2:].clamp(min=0.3)
    wobble = functional.interpolate(
        torch.randn(n, 2, 4, 4) * 0.035 * strength, (SIDE, SIDE), mode="bicubic"
    )
    return grid.view(n, SIDE, SIDE, 2) + wobble.permute(0, 2, 3, 1)


def _soft_field(n: int, cells: int) -> Tensor:
    """Smooth random fields (n, 1, SIDE, SIDE), about standard normal."""
    return functional.interpolate(torch.randn(n, 1, cells, cells), (SIDE, SIDE), mode="bicubic")


def _grounds(n: int) -> Tensor:
    """Backgrounds (n, 3, SIDE, SIDE): white half the time, else plain, grey or gradients."""
    kind = torch.rand(n, 1, 1, 1)
    plain = torch.rand(n, 3, 1, 1)
    grey = torch.rand(n, 1, 1, 1)
    other = torch.rand(n, 3, 1, 1)
    ramp = (_soft_field(n, 2) * 0.5 + 0.5).clamp(0, 1)
    gradient = plain * ramp + other * (1 - ramp)
    ground = torch.where(kind < 0.5, torch.ones_like(gradient), gradient)
    ground = torch.where((kind >= 0.5) & (kind < 0.65), grey.expand_as(gradient), ground)
    return torch.where((kind >= 0.65) & (kind < 0.8), plain.expand_as(gradient), ground)


def _rotate_hue(colours: Tensor, angle: Tensor) -> Tensor:
    """Turn colours (n, 3, h, w) about the grey axis by angles (n,), in radians."""
    third = 1 / 3
    cos, sin = torch.cos(angle), torch.sin(angle) * math.sqrt(third)
    a = cos + (1 - cos) * third
    b = (1 - cos) * third - sin
    c = (1 - cos) * third + sin
    rows = torch.stack([a, b, c, c, a, b, b, c, a], dim=1).view(-1, 3, 3)
    return torch.einsum("nij,njhw->nihw", rows, colours)


def _light(colours: Tensor, alpha: Tensor) -> Tensor:
    """Shade drawings as if they had volume: soft light, a lit side, gloss, dark rims."""
    n = len(colours)
    colours = colours * (1 + _sometimes(n, 0.6) * 0.22 * _soft_field(n, 3))
    direction = torch.randn(n, 2, 1, 1)
    axis = torch.linspace(-1, 1, SIDE)
    slope = direction[:, :1] * axis.view(1, 1, 1, -1) + direction[:, 1:] * axis.view(1, 1, -1, 1)
    colours = colours * (1 + _sometimes(n, 0.5) * 0.16 * slope)
    inside = functional.avg_pool2d(alpha, 9, stride=1, padding=4)
    rim = (1 - inside).clamp(0, 1) * alpha
    colours = colours * (1 - _sometimes(n, 0.4) * _uniform((n, 1, 1, 1), -0.3, 0.8) * rim)
    gloss = torch.relu(_soft_field(n, 4) - 1.0) * 0.6
    return colours + _sometimes(n, 0.3) * gloss


def normalise(images: Tensor) -> Tensor:
    """Colours in 0..1 to what the model takes."""
    return (images - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def jitter(colours: Tensor) -> Tensor:
    """Colours (n, 3, SIDE, SIDE) in 0..1, brighter or darker, stronger or paler, a hue apart."""
    n = len(colours)
    luma = colours.mean(dim=1, keepdim=True)
    colours = luma + (colours - luma) * _uniform((n, 1, 1, 1), 0.75, 1.3)
    colours = _rotate_hue(colours, torch.randn(n) * 0.08)
    colours = (colours - 0.5) * _uniform((n, 1, 1, 1), 0.85, 1.15) + 0.5
    return (colours + torch.randn(n, 1, 1, 1) * 0.04).clamp(0, 1)


def augment(drawings: Tensor, *, strength: float = 1.0) -> Tensor:
    """Drawings uint8 (n, h, w, 4) to model input float32 (n, 3, SIDE, SIDE)."""
    n = len(drawings)
    source = drawings.permute(0, 3, 1, 2).float() / 255
    source = torch.cat([source[:, :3] * source[:, 3:], source[:, 3:]], dim=1)
    warped = functional.grid_sample(
        source, _warp_grid(n, strength), padding_mode="zeros", align_corners=False
    )
    alpha = warped[:, 3:]
    colours = warped[:, :3] / alpha.clamp(min=1e-3)
    colours = _light(colours, alpha)
    luma = colours.mean(dim=1, keepdim=True)
    saturation = torch.exp(torch.randn(n, 1, 1, 1) * 0.3)
    saturation = saturation * (1 - _sometimes(n, 0.06))
    colours = luma + (colours - luma) * saturation
    colours = _rotate_hue(colours, torch.randn(n) * 0.14 * (torch.rand(n) < 0.6))
    colours = (colours - 0.5) * _uniform((n, 1, 1, 1), 0.7, 1.3) + 0.5
    colours = colours + torch.randn(n, 1, 1, 1) * 0.08
    colours = colours.clamp(0, 1)
    shadow = functional.avg_pool2d(alpha.roll(3, dims=2), 7, stride=1, padding=3)
    ground = _grounds(n) * (1 - _sometimes(n, 0.25) * 0.4 * shadow)
    images = colours * alpha + ground * (1 - alpha)
    blurred = functional.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
    images = torch.lerp(images, blurred, _sometimes(n, 0.35) * torch.rand(n, 1, 1, 1))
    return normalise(images.clamp(0, 1))
