"""Builds the pairs: renders every training drawing once and links it to its concept.

Run: ``python -m training.pictures``. Writes one ``<style>.npz`` a style with
``images`` uint8 (n, SIDE, SIDE, 4), alpha not premultiplied, and ``concepts`` int64 (n,),
positions in ``load_concepts()``.
"""

import io
import json
import re
from collections.abc import Iterator
from typing import Final

import numpy as np
import resvg_py
import torch
from PIL import Image
from torch import Tensor

from training.concepts import code_of, load_concepts
from training.workspace import PACKAGES, PICTURES

SIDE: Final = 80  # pixels
ICONIFY: Final = {
    "noto1": "iconify-json-noto-v1-1.2.5",
    "emojitwo": "iconify-json-emojione-1.2.3",
    "emojione1": "iconify-json-emojione-v1-1.2.3",
    "firefox": "iconify-json-fxemoji-1.2.2",
    "streamline": "iconify-json-streamline-emojis-1.2.4",
}
FOLDERS: Final = {
    "openmoji": "openmoji-17.0.0/color/svg/*.svg",
    "noto": "emoji-datasource-google-16.0.0/img/google/64/*.png",
    "twemoji": "emoji-datasource-twitter-16.0.0/img/twitter/64/*.png",
}
STYLES: Final = (*FOLDERS, *ICONIFY)
HELD_OUT_STYLE: Final = "firefox"  # for choosing; neither trained on nor the final test


def render(svg: str) -> Image.Image:
    """Rasterise an SVG drawing to SIDE pixels wide."""
    png = resvg_py.svg_to_bytes(svg_string=svg, width=SIDE, height=SIDE)
    return Image.open(io.BytesIO(bytes(png)))


def _fit(picture: Image.Image) -> np.ndarray:
    colours = picture.convert("RGBA")
    if colours.size != (SIDE, SIDE):
        colours = colours.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return np.asarray(colours)


def _compact(name: str) -> str:
    """A name as letters and digits only, without the words that sets add or leave out."""
    words = re.sub(r"[^a-z0-9]+", " ", name.lower().replace("’", "").replace("'", "")).split()
    return "".join(word for word in words if word not in {"for", "of", "the", "with", "flag"})


def _positions_by_name() -> dict[str, int]:
    """Names of concepts, their own label first, then shortcodes nobody else's label takes."""
    concepts = load_concepts()
    found: dict[str, int] = {}
    for position, concept in enumerate(concepts):
        if concept.in_unicode:
            found.setdefault(_compact(concept.label), position)
    for position, concept in enumerate(concepts):
        for name in concept.more_tags if concept.in_unicode else ():
            if " " in name:
                found.setdefault(_compact(name), position)
    return found


def drawings(style: str) -> Iterator[tuple[int, np.ndarray]]:
    """Each drawing of a style that belongs to a concept: (position, uint8 (SIDE, SIDE, 4))."""
    if style in FOLDERS:
        positions = {concept.code: at for at, concept in enumerate(load_concepts())}
        for path in sorted(PACKAGES.glob(FOLDERS[style])):
            position = positions.get(code_of(path.stem))
            if position is None:
                continue
            if path.suffix == ".svg":
                yield position, _fit(render(path.read_text("utf-8")))
            else:
                with Image.open(path) as picture:
                    yield position, _fit(picture)
        return
    by_name = _positions_by_name()
    icons = json.loads((PACKAGES / ICONIFY[style] / "icons.json").read_text("utf-8"))
    for name, icon in icons["icons"].items():
        position = by_name.get(_compact(re.sub(r"-\d$", "", name)))
        if position is None:
            continue
        width = icon.get("width", icons.get("width", 16))
        height = icon.get("height", icons.get("height", 16))
        body = icon["body"]
        svg = (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="0 0 {width} {height}" width="{SIDE}" height="{SIDE}">{body}</svg>'
        )
        yield position, _fit(render(svg))


def training_styles() -> tuple[str, ...]:
    """The styles that train."""
    return tuple(style for style in STYLES if style != HELD_OUT_STYLE)


def load_pairs(styles: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """Drawings uint8 (n, h, w, 4) and their concepts int64 (n,)."""
    stored = [np.load(PICTURES / f"{style}.npz") for style in styles]
    return (
        torch.from_numpy(np.concatenate([part["images"] for part in stored])),
        torch.from_numpy(np.concatenate([part["concepts"] for part in stored])),
    )


def main() -> None:
    """Render every style."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    for style in STYLES:
        pairs = list(drawings(style))
        np.savez(
            PICTURES / f"{style}.npz",
            images=np.stack([image for _, image in pairs]),
            concepts=np.array([position for position, _ in pairs], dtype=np.int64),
        )
        drawn = len({position for position, _ in pairs})
        print(f"{style}: {len(pairs)} drawings, {drawn} concepts", flush=True)


if __name__ == "__main__":
    main()
