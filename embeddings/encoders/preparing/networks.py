"""From a torch module to networks that OpenVINO runs, in every precision there is."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from PIL import Image

from embeddings.encoders.base import Modality, Purpose
from embeddings.encoders.serving.inputs import Feeds, Inputs
from embeddings.encoders.serving.openvino_runtime import has_bfloat16, load_openvino

CALIBRATED_ON: Final = 64
"""Samples whose activations give the fixed ranges of int8."""
SHORT_AND_LONG: Final[dict[Modality, tuple[Sequence[Any], Sequence[Any]]]] = {
    Modality.TEXT: (["a"] * 2, ["words " * 600] * 3),
    Modality.IMAGE: ([Image.new("RGB", (40, 40))] * 2, [Image.new("RGB", (90, 30))] * 3),
}
"""Inputs whose shapes differ wherever those of a tower ever do."""


def convert(tower: torch.nn.Module, modality: Modality, inputs: Inputs) -> Any:
    """The module as a model of OpenVINO, in full precision, free in the sizes that vary."""
    openvino = load_openvino()
    short, long = (_feeds(inputs, modality, each) for each in SHORT_AND_LONG[modality])
    shapes = []
    for name, array in short.items():
        sides = zip(array.shape, long[name].shape, strict=True)
        free = openvino.PartialShape([a if a == b else -1 for a, b in sides])
        shapes.append((name, free, openvino.Type(array.dtype)))
    example = {name: torch.from_numpy(array) for name, array in short.items()}
    # Of a loss that nothing here computes.
    logging.getLogger("transformers").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of branches that a trace fixes; parity would tell
        return openvino.convert_model(tower, example_input=example, input=shapes)


def precisions() -> dict[str, Callable[[Any, Sequence[Feeds]], Any]]:
    """What makes a network of each precision out of a full one; cheap ones last."""
    made: dict[str, Callable[[Any, Sequence[Feeds]], Any]] = {
        "int8": _quantised,
        "int8-dynamic": _compressed,
    }
    if has_bfloat16():
        made["bf16"] = _same
    return made | {"fp32": _same}


def save(model: Any, path: Path, precision: str) -> None:
    """Write the network and, beside it, its weights: half as long where half is computed with."""
    load_openvino().save_model(model, path, compress_to_fp16=precision == "bf16")


def calibration(inputs: Inputs, modality: Modality, samples: Sequence[Any]) -> list[Feeds]:
    """Runs of one sample each, spread over all."""
    chosen = samples[:: max(1, len(samples) // CALIBRATED_ON)][:CALIBRATED_ON]
    return [_feeds(inputs, modality, [sample]) for sample in chosen]


def _quantised(model: Any, feeds: Sequence[Feeds]) -> Any:
    """int8 weights, and activations in ranges fixed by calibration."""
    with _quiet() as nncf:
        return nncf.quantize(
            model,
            nncf.Dataset([dict(each) for each in feeds]),
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(feeds),
        )


def _compressed(model: Any, _feeds: Sequence[Feeds]) -> Any:
    """int8 weights; activations are rounded as they come."""
    with _quiet() as nncf:
        return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)


def _same(model: Any, _feeds: Sequence[Feeds]) -> Any:
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[Any]:
    """NNCF without its telemetry, and without the bars that it draws on standard output."""
    load_openvino()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        import nncf

        logging.getLogger("nncf").setLevel(logging.ERROR)  # not as it does it: by its handlers
        yield nncf


def _feeds(inputs: Inputs, modality: Modality, chosen: Sequence[Any]) -> Feeds:
    return inputs.queue(modality, chosen, Purpose.DOCUMENT).feeds(range(len(chosen)))
