"""Against transformers' own processors and models, called as their manuals say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from embeddings.encoders.base import Modality, Purpose
from embeddings.encoders.families.base import Checkpoint
from embeddings.encoders.families.patches import resized_positions
from embeddings.encoders.families.registry import open_checkpoint
from embeddings.encoders.serving.preprocessing import Preprocessing
from embeddings.encoders.serving.tokenization import Tokenization, Tokenizer
from tests.embeddings.encoders.tiny_families import BUILDERS

TEXTS = [
    "",
    "a",
    ".",
    "the red fox",
    "THE Red Fox!",
    "! the fox",
    "  spaces  \t and \n lines  ",
    "Ünïcödé İstanbul ΣΑΣ",
    "中文 山 一只红色的狐狸",
    "שלום",
    "🦊🦊 fox",
    "null\x00byte",
    *("fox " * count for count in (1, 5, 20, 60, 400)),
]
RANDOM = np.random.default_rng(0)


def smooth(width: int, height: int) -> Image.Image:
    coarse = Image.fromarray(RANDOM.integers(0, 256, (5, 6, 3)).astype(np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


PICTURES = [
    smooth(1, 1),
    smooth(2000, 3),
    smooth(90, 47),
    smooth(31, 70),
    smooth(33, 33).convert("P"),
    smooth(40, 30).convert("L"),
    Image.fromarray(RANDOM.integers(0, 256, (33, 44, 4)).astype(np.uint8)),
]
TALL = smooth(3, 2000)

Array = NDArray[Any]

converting = pytest.mark.filterwarnings("ignore::Warning")
"""What torch says while a graph is traced."""


def cosines(a: Array, b: Array) -> Array:
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    products: Array = (a * b).sum(axis=1) / lengths
    return products


def run(tower: torch.nn.Module, feeds: dict[str, Array]) -> Array:
    with torch.inference_mode():
        vectors: Array = tower(**{k: torch.from_numpy(v) for k, v in feeds.items()}).numpy()
    return vectors


def tokenizer(checkpoint: Checkpoint) -> Tokenizer:
    """By way of the manifest's JSON, as serving has it."""
    fields = json.loads(json.dumps(checkpoint.tokenization.to_json()))
    assert Tokenization.from_json(fields) == checkpoint.tokenization
    return Tokenizer(checkpoint.serialised_tokenizer(), Tokenization.from_json(fields))


def preprocessing(checkpoint: Checkpoint) -> Preprocessing:
    fields = json.loads(json.dumps(checkpoint.preprocessing.to_json()))
    assert Preprocessing.from_json(fields) == checkpoint.preprocessing
    return Preprocessing.from_json(fields)


def expected_texts(directory: Path, texts: list[str], length: int) -> Array:
    """SigLIP's manual: fill up to the whole length, no mask, lower case for SigLIP 2."""
    siglip = "siglip" in json.loads((directory / "config.json").read_text())["model_type"]
    reference = AutoTokenizer.from_pretrained(directory)
    inputs = reference(
        [text.lower() for text in texts] if siglip else texts,
        padding="max_length" if siglip else True,
        truncation=True,
        max_length=length,
        return_tensors="pt",
    )
    if siglip:
        inputs.pop("attention_mask", None)
    model = AutoModel.from_pretrained(directory).eval()
    with torch.inference_mode():
        vectors: Array = model.get_text_features(**inputs).pooler_output.numpy()
    return vectors


def expected_pictures(directory: Path, images: list[Image.Image]) -> Array:
    read: Any = AutoImageProcessor.from_pretrained
    processor = read(directory)
    model = AutoModel.from_pretrained(directory).eval()
    with torch.inference_mode():
        outputs = [
            model.get_image_features(**processor(images=image, return_tensors="pt"))
            for image in images
        ]
    return np.concatenate([output.pooler_output.numpy() for output in outputs])


@pytest.mark.parametrize("name", BUILDERS)
def test_texts_equal_those_of_transformers(families: dict[str, Path], name: str) -> None:
    checkpoint = open_checkpoint(families[name])
    own = tokenizer(checkpoint)
    length = own.tokenization.max_length

    got = run(checkpoint.towers()[Modality.TEXT], own.feeds(own.rows(TEXTS)))

    assert got.shape == (len(TEXTS), checkpoint.dimension)
    assert max(len(row) for row in own.rows(TEXTS)) == length
    assert cosines(got, expected_texts(families[name], TEXTS, length)).min() > 0.9999


def test_a_clip_whose_configuration_names_a_wrong_end_token_pools_the_right_one(
    families: dict[str, Path], tmp_path: Path
) -> None:
    # Those older than transformers 4.31 say 2; the end token has the highest of all ids.
    directory = shutil.copytree(families["clip"], tmp_path / "old")
    config = json.loads((directory / "config.json").read_text())
    config["text_config"]["eos_token_id"] = 2
    (directory / "config.json").write_text(json.dumps(config))
    old, new = (open_checkpoint(path) for path in (directory, families["clip"]))
    feeds = tokenizer(old).feeds(tokenizer(old).rows(TEXTS))

    np.testing.assert_array_equal(
        run(old.towers()[Modality.TEXT], feeds), run(new.towers()[Modality.TEXT], feeds)
    )


@pytest.mark.parametrize("name", BUILDERS)
def test_pictures_equal_those_of_transformers(families: dict[str, Path], name: str) -> None:
    checkpoint = open_checkpoint(families[name])
    # torch repeats the first position where a picture is one patch wide: see the test of positions.
    images = PICTURES if name == "siglip2" else [*PICTURES, TALL]

    got = run(checkpoint.towers()[Modality.IMAGE], preprocessing(checkpoint).feeds(images))

    assert got.shape == (len(images), checkpoint.dimension)
    assert cosines(got, expected_pictures(families[name], images)).min() > 0.9999


@converting
@pytest.mark.parametrize("name", BUILDERS)
def test_towers_become_graphs_of_any_batch_and_length(families: dict[str, Path], name: str) -> None:
    checkpoint = open_checkpoint(families[name])
    own, pictures = tokenizer(checkpoint), preprocessing(checkpoint)
    batches = {
        Modality.TEXT: [own.feeds(own.rows(texts)) for texts in (TEXTS[3:5], TEXTS, TEXTS[:1])],
        Modality.IMAGE: [pictures.feeds(images) for images in (PICTURES[2:4], PICTURES, [TALL])],
    }
    for modality, tower in checkpoint.towers().items():
        example = {key: torch.from_numpy(value) for key, value in batches[modality][0].items()}
        graph = openvino.convert_model(tower, example_input=example)
        compiled = openvino.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        for feeds in batches[modality]:
            got, expected = compiled(feeds)[0], run(tower, feeds)
            assert cosines(got, expected).min() > 0.9999


@pytest.mark.parametrize("shape", [(4, 5), (1, 20), (3, 2), (1, 1), (4, 1), (7, 2), (2, 9)])
def test_positions_are_resized_as_torch_does(shape: tuple[int, int]) -> None:
    table = torch.from_numpy(RANDOM.standard_normal((4, 4, 3)).astype(np.float32))
    expected = torch.nn.functional.interpolate(
        table.permute(2, 0, 1)[None], size=shape, mode="bilinear", antialias=True
    )[0].permute(1, 2, 0)

    got = resized_positions(table, torch.tensor([shape]), 20)[0]

    rows, columns = shape
    torch.testing.assert_close(got[: rows * columns], expected.reshape(-1, 3))


def test_positions_of_one_column_are_those_of_one_row_turned() -> None:
    # On processors torch gives every row of a single column the first row's values.
    table = torch.from_numpy(RANDOM.standard_normal((4, 4, 3)).astype(np.float32))

    column = resized_positions(table, torch.tensor([[20, 1]]), 20)
    row = resized_positions(table.transpose(0, 1), torch.tensor([[1, 20]]), 20)

    torch.testing.assert_close(column, row)


@converting
def test_a_text_model_pools_the_mean_and_projects_it(
    families: dict[str, Path], text_model: Path
) -> None:
    checkpoint = open_checkpoint(text_model, open_checkpoint(families["clip"]))
    own = tokenizer(checkpoint)
    texts = [f"the {text.lower()}" for text in TEXTS]
    inputs = AutoTokenizer.from_pretrained(text_model)(
        texts, padding=True, truncation=True, max_length=30, return_tensors="pt"
    )
    with torch.inference_mode():
        hidden = AutoModel.from_pretrained(text_model).eval()(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]
        )
    mask = inputs["attention_mask"].numpy()[:, :, None]
    mean = (hidden.last_hidden_state.numpy() * mask).sum(1) / mask.sum(1)
    weights = torch.load(text_model / "2_Dense" / "pytorch_model.bin")["linear.weight"].numpy()
    tower = checkpoint.towers()[Modality.TEXT]

    got = run(tower, own.feeds(own.rows(TEXTS)))
    graph = openvino.convert_model(
        tower,
        example_input={k: torch.from_numpy(v) for k, v in own.feeds(own.rows(TEXTS[:3])).items()},
    )
    converted = openvino.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(
        own.feeds(own.rows(TEXTS))
    )[0]

    assert cosines(got, mean @ weights.T).min() > 0.9999
    assert cosines(converted, got).min() > 0.9999


def test_a_text_model_takes_the_pictures_it_is_named_with(
    families: dict[str, Path], text_model: Path
) -> None:
    clip = open_checkpoint(families["clip"])
    pair = open_checkpoint(text_model, clip)
    feeds = preprocessing(pair).feeds(PICTURES)

    np.testing.assert_array_equal(
        run(pair.towers()[Modality.IMAGE], feeds), run(clip.towers()[Modality.IMAGE], feeds)
    )


def test_queries_and_documents_have_prompts_of_their_own(
    families: dict[str, Path], text_model: Path
) -> None:
    own = tokenizer(open_checkpoint(text_model, open_checkpoint(families["clip"])))

    [query] = own.rows(["Red fox"], Purpose.QUERY)
    [document] = own.rows(["Red fox"], Purpose.DOCUMENT)
    clip = tokenizer(open_checkpoint(families["clip"]))

    reference = AutoTokenizer.from_pretrained(text_model)
    assert query.tolist() == reference("find: red fox")["input_ids"]
    assert document.tolist() == reference("the red fox")["input_ids"]
    assert clip.rows(["fox"], Purpose.QUERY)[0].tolist() == clip.rows(["fox"])[0].tolist()
