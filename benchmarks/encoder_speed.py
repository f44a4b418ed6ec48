"""How long the bare encoder takes, by batch size; nothing else runs in this process.

    python -m benchmarks.encoder_speed ours-int8|ours-fp32|baseline MODEL SECONDS [pictures]

Prints JSON: one row a modality and batch size, with the median of a batch in milliseconds. Texts
differ in every batch; `pictures` leaves them out. Pictures are decoded beforehand, and resized and
normalised within the measured time.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from PIL import Image

from benchmarks.latency import median
from benchmarks.material import PREPARED, captions, ensure_pictures

BATCH_SIZES: Final = (1, 8, 32)
FEWEST: Final = 3
"""Batches a figure, at least."""


def measure(
    encode: Callable[[list[Any]], object], batches: Callable[[], list[Any]], seconds: float
) -> tuple[float, int]:
    """Median milliseconds of a batch, and of how many batches; the first does not count."""
    encode(batches())
    durations: list[float] = []
    began = time.perf_counter()
    while len(durations) < FEWEST or time.perf_counter() - began < seconds:
        batch = batches()
        started = time.perf_counter()
        encode(batch)
        durations.append(time.perf_counter() - started)
    return median(durations) * 1000, len(durations)


def encoder_of(
    name: str, model: Path
) -> tuple[Callable[[list[Any]], object], Callable[[list[Any]], object]]:
    """Functions that encode texts and pictures."""
    if name == "baseline":
        from benchmarks.baseline_embedding import EmbeddingService

        service = EmbeddingService(model)
        return service.embed_texts, service.embed_images
    from embeddings.encoders.serving.onnx_encoder import OnnxEncoder

    precision = name.removeprefix("ours-")
    ours = OnnxEncoder(str(model), PREPARED / precision, precision=precision)
    return ours.encode_texts, ours.encode_images


def main() -> None:
    name, model, seconds = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    encode_texts, encode_images = encoder_of(name, model)
    words = captions(seed=7)
    pictures = [Image.open(io.BytesIO(data)).convert("RGB") for data in ensure_pictures()["small"]]
    rows = []
    for size in BATCH_SIZES:

        def texts(size: int = size) -> list[Any]:
            return [next(words) for _ in range(size)]

        def images(size: int = size) -> list[Any]:
            return [pictures[number % len(pictures)] for number in range(size)]

        for modality, encode, batches in (
            ("text", encode_texts, texts),
            ("image", encode_images, images),
        ):
            if "pictures" in sys.argv and modality == "text":
                continue
            milliseconds, count = measure(encode, batches, seconds)
            rows.append({"modality": modality, "batch": size, "ms": milliseconds, "runs": count})
    json.dump(rows, sys.stdout)


if __name__ == "__main__":
    main()
