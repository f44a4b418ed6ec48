"""What the benchmarks are run on: captions and pictures that cost what real ones do."""

from __future__ import annotations

import csv
import io
import random
import shutil
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ROOT: Final = Path(__file__).resolve().parent.parent
WORK: Final = ROOT / "benchmarks" / "work"
"""What is made once and kept."""
SIZES: Final = {"large": "12-megapixel JPEG", "small": "512-pixel JPEG"}
LARGE: Final = (4000, 3000)
SMALL: Final = (512, 384)
DISTINCT: Final = 12
"""Pictures of a size that differ in their pixels; further ones differ in a comment."""
QUALITY: Final = 90


def _split(words: str) -> list[str]:
    return words.split(",")


_ADJECTIVES: Final = _split("small,large,tall,young,brown,white,black,red,green,wooden,wet,sleepy")
_SUBJECTS: Final = _split(
    "dog,cat,horse,woman,man,child,bird,cyclist,train,boat,car,bridge,house,tower,tree,market,"
    "surfer,football player,chef,street musician,tractor,airplane,elephant,sheep,teapot"
)
_VERBS: Final = _split(
    "standing,waiting,running,resting,seen from above,reflected,turning,jumping,half hidden,"
    "photographed,playing,hurrying"
)
_PLACES: Final = _split(
    "on the beach,in a narrow street,next to a river,under tall trees,in front of a mountain,"
    "beside a red brick wall,in the kitchen,on a snowy field,at the railway station,in the park,"
    "by an open window,between market stalls,on top of a hill,inside an old church"
)
_TIMES: Final = _split(
    "at sunset,in the morning,at night,in winter,after the rain,on a cloudy day,in bright sunlight"
)


def captions(seed: int) -> Iterator[str]:
    """Endless distinct captions of a photograph's usual length (9 to 16 tokens)."""
    source = random.Random(seed)
    seen: set[str] = set()
    while True:
        words = f"a {source.choice(_ADJECTIVES)} {source.choice(_SUBJECTS)}"
        if source.random() < 0.25:
            words += f" and a {source.choice(_ADJECTIVES)} {source.choice(_SUBJECTS)}"
        words += f" {source.choice(_VERBS)} {source.choice(_PLACES)} {source.choice(_TIMES)}"
        if words not in seen:
            seen.add(words)
            yield words


def ensure_pictures() -> dict[str, list[bytes]]:
    """JPEG files of DISTINCT pictures, by size name: ``large`` and ``small``."""
    folder = WORK / "pictures"
    done = folder / "done"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        scene = photographic_noise(LARGE, seed=1)
        for number in range(DISTINCT):
            rolled = np.roll(scene, (number * 251, number * 337), axis=(0, 1))
            large = Image.fromarray(rolled)
            large.save(folder / f"large-{number:02}.jpg", quality=QUALITY)
            small = large.resize(SMALL, Image.Resampling.LANCZOS)
            small.save(folder / f"small-{number:02}.jpg", quality=QUALITY)
        done.touch()
    return {
        size: [path.read_bytes() for path in sorted(folder.glob(f"{size}-*.jpg"))] for size in SIZES
    }


def photographic_noise(size: tuple[int, int], *, seed: int) -> NDArray[np.uint8]:
    """RGB pixels (height, width, 3) with a photograph's statistics.

    Amplitude falls with spatial frequency as in natural scenes, most of it in brightness, with a
    sensor's grain on top: a JPEG of it is as large, and as slow to decode, as a camera's.
    """
    width, height = size
    source = np.random.default_rng(seed)
    pixels = np.zeros((height, width, 3), np.float32)
    cells = 3
    while cells < width:
        amplitude = 110.0 * (3 / cells) ** 0.55
        grid = source.standard_normal((max(2, cells * height // width), cells, 3))
        grid = 0.75 * grid[..., :1] + 0.25 * grid  # colour channels mostly agree
        for channel in range(3):
            layer = Image.fromarray(grid[..., channel].astype(np.float32))
            pixels[..., channel] += amplitude * np.asarray(
                layer.resize(size, Image.Resampling.BICUBIC)
            )
        cells *= 2
    pixels += source.standard_normal((height, width, 1), dtype=np.float32) * 11
    shown: NDArray[np.uint8] = np.clip(pixels * 0.45 + 118, 0, 255).astype(np.uint8)
    return shown


def small_picture() -> bytes:
    """A JPEG of SMALL, made on the spot."""
    stream = io.BytesIO()
    Image.fromarray(photographic_noise(SMALL, seed=1)).save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue()


def with_comment(jpeg: bytes, comment: str) -> bytes:
    """The same picture with a comment segment (JPEG's COM): another file for whoever hashes it."""
    text = comment.encode()
    return jpeg[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + jpeg[2:]


class Stock:
    """Texts and pictures; none is given out twice."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._texts = captions(seed=3)
        self._pictures = ensure_pictures()

    def captions(self, count: int) -> Path:
        """A CSV of captions, as `ingest_dataset` reads it.

        A tenth of them has each category, a hundredth each tag.
        """
        path = self._folder / f"captions-{count}.csv"
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(("id", "caption", "category", "tags"))
            writer.writerows(
                (f"item-{number}", text, f"shelf {number % 10}", f"box {number % 100}")
                for number, text in enumerate(islice(captions(seed=5), count))
            )
        return path

    def words(self, count: int) -> list[str]:
        """Queries."""
        return list(islice(self._texts, count))

    def pictures(self, size: str, count: int) -> list[Path]:
        """Files in a folder of their own."""
        pictures, label = self._pictures[size], f"{size}-{time.monotonic_ns():x}"
        folder = self._folder / label
        folder.mkdir()
        paths = [folder / f"{label}-{number:05}.jpg" for number in range(count)]
        for number, path in enumerate(paths):
            path.write_bytes(with_comment(pictures[number % len(pictures)], path.stem))
        return paths
