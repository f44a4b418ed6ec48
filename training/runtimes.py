"""What one input of the shipped model costs: in torch, in OpenVINO, and in the application."""

import statistics
import time
import warnings
from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPModel

from embeddings.encoders.base import Encoder, Modality
from embeddings.encoders.serving.openvino_runtime import compile_network, load_openvino
from training.evaluate import Embedder, Item, picture_of
from training.workspace import WORK

REPEATS: Final = 60  # timed calls
TIMED_BATCH: Final = 16


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
    WORK.mkdir(exist_ok=True)
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


def report_application(encoder: Encoder, items: list[Item]) -> None:
    """Print what one input costs in the application, from picture or words to vector."""
    picture = picture_of(items[0])
    image = _milliseconds(lambda: encoder.encode(Modality.IMAGE, [picture]), 1)
    text = _milliseconds(lambda: encoder.encode(Modality.TEXT, [items[0].caption]), 1)
    precision = encoder.describe().precision
    print(f"application, {precision}: picture {image:.2f} ms, text {text:.2f} ms, alone")
