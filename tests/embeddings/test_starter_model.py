"""The model that ships: small enough, loadable by the usual classes, and of some use."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer
from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel

from embeddings.encoders.finding.model_files import ModelFiles
from embeddings.encoders.finding.prepared import find_prepared
from embeddings.encoders.preparing.parity import compare, demo_samples
from embeddings.encoders.preparing.transformers_encoder import TransformersEncoder
from embeddings.encoders.serving.openvino_towers import OpenVinoTowers

ROOT = Path(__file__).resolve().parents[2]
STARTER = ROOT / "embeddings" / "starter"
DEMO = ROOT / "demo"
MAX_BYTES = 25_000_000
MAX_PREPARED_BYTES = 20_000_000
MAX_PARAMETERS = 12_000_000


@pytest.fixture(scope="module")
def model() -> CLIPModel:
    model: CLIPModel = CLIPModel.from_pretrained(STARTER, dtype=torch.float32)
    model.train(mode=False)
    return model


@torch.inference_mode()
def text_vectors(model: CLIPModel, texts: Sequence[str]) -> np.ndarray:
    tokenizer = AutoTokenizer.from_pretrained(STARTER)
    batch = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
    found = model.get_text_features(**batch).pooler_output
    return torch.nn.functional.normalize(found, dim=-1).numpy()


@pytest.fixture(scope="module")
def catalogue(model: CLIPModel) -> tuple[list[str], np.ndarray]:
    """Captions of the demo pictures and their vectors, float32 (n, d)."""
    processor = CLIPImageProcessorPil.from_pretrained(STARTER)
    captions, pictures = [], []
    with (DEMO / "metadata.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            with Image.open(DEMO / "images" / row["image_filename"]) as picture:
                rgba = picture.convert("RGBA")
            white = Image.new("RGBA", rgba.size, "white")
            pictures.append(Image.alpha_composite(white, rgba).convert("RGB"))
            captions.append(row["caption"])
    found = []
    with torch.inference_mode():
        for start in range(0, len(pictures), 128):
            pixels = processor(pictures[start : start + 128], return_tensors="pt")["pixel_values"]
            found.append(model.get_image_features(pixel_values=pixels).pooler_output)
    vectors = torch.nn.functional.normalize(torch.cat(found), dim=-1)
    return captions, vectors.numpy()


def test_starter_stays_within_its_limits(model: CLIPModel) -> None:
    assert sum(parameter.numel() for parameter in model.parameters()) <= MAX_PARAMETERS
    assert sum(path.stat().st_size for path in STARTER.iterdir()) <= MAX_BYTES
    configuration = model.config.to_dict()
    assert 64 <= configuration["vision_config"]["image_size"] <= 112


def test_tokenizer_reads_the_same_with_and_without_transformers() -> None:
    texts = ["a Red  Apple!", "puppy", "dog's café", "日本 😂"]
    by_transformers = AutoTokenizer.from_pretrained(STARTER)(texts)["input_ids"]
    by_tokenizers = Tokenizer.from_file(str(STARTER / "tokenizer.json"))
    assert [by_tokenizers.encode(text).ids for text in texts] == by_transformers


def test_text_vector_does_not_depend_on_padding(model: CLIPModel) -> None:
    alone = text_vectors(model, ["red apple"])
    padded = text_vectors(model, ["red apple", "someone who is laughing very hard at a joke"])
    np.testing.assert_allclose(alone[0], padded[0], atol=1e-5)


def test_letter_case_does_not_matter(model: CLIPModel) -> None:
    lower, upper = text_vectors(model, ["a red apple", "A RED APPLE"])
    np.testing.assert_allclose(lower, upper, atol=1e-5)


@pytest.mark.parametrize(
    ("query", "caption", "among"),
    [
        ("a red apple", "red apple", 1),
        ("a strawberry", "strawberry", 3),
        ("sunflower", "sunflower", 3),
        ("watermelon", "watermelon", 3),
        ("rainbow", "rainbow", 3),
        ("automobile", "automobile", 3),
        ("motorcar", "automobile", 3),
        ("kitten", "cat", 5),
        ("a puppy", "dog", 5),
    ],
)
def test_query_finds_its_picture_among_the_first(
    model: CLIPModel,
    catalogue: tuple[list[str], np.ndarray],
    query: str,
    caption: str,
    among: int,
) -> None:
    captions, pictures = catalogue
    (vector,) = text_vectors(model, [query])
    first = [captions[at] for at in np.argsort(-(pictures @ vector))[:among]]
    assert caption in first


@pytest.mark.parametrize(
    ("word", "near", "far"),
    [("puppy", "dog", "car"), ("automobile", "car", "dog"), ("infant", "baby", "pizza")],
)
def test_text_tower_knows_words_that_mean_the_same(
    model: CLIPModel, word: str, near: str, far: str
) -> None:
    asked, same, other = text_vectors(model, [word, near, far])
    assert asked @ same > asked @ other + 0.2


def test_words_never_met_fall_into_many_pieces(tmp_path: Path) -> None:
    shipped = find_prepared(tmp_path, ModelFiles("starter", STARTER), "cpu")
    assert shipped is not None
    assert OpenVinoTowers(shipped).pieces(["laughing", "kitty", "zxcvbn", ""]) == [1, 2, 5, 0]


def test_shipped_towers_are_close_to_the_original(tmp_path: Path) -> None:
    files = ModelFiles("starter", STARTER)
    shipped = find_prepared(tmp_path, files, "cpu")
    assert shipped is not None
    assert shipped.directory == STARTER / "prepared"
    assert sum(path.stat().st_size for path in shipped.directory.iterdir()) <= MAX_PREPARED_BYTES
    reference, towers = TransformersEncoder(str(STARTER), "cpu"), OpenVinoTowers(shipped)

    for modality, inputs in demo_samples().items():
        expected, got = (each.encode(modality, inputs) for each in (reference, towers))
        assert compare(expected, got).is_close
