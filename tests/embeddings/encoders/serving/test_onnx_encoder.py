"""Against the reference encoder; what a serving process loads, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embeddings.encoders.base import EncoderError, Modality, Vectors
from embeddings.encoders.preparing.export import export_missing
from embeddings.encoders.preparing.transformers_encoder import TransformersEncoder
from embeddings.encoders.serving import onnx_towers
from embeddings.encoders.serving.onnx_encoder import OnnxEncoder
from tests.embeddings.encoders.conftest import TEXTS, pictures, samples
from tests.embeddings.encoders.tiny_clip import DIMENSION, build_tiny_clip

PROJECT = Path(__file__).resolve().parents[4]


def cosines(a: Vectors, b: Vectors) -> Vectors:
    products: Vectors = (a * b).sum(axis=1)
    return products


def test_fp32_texts_equal_the_reference(fp32: OnnxEncoder, reference: TransformersEncoder) -> None:
    texts = [*TEXTS, *samples().texts]

    got = fp32.encode(Modality.TEXT, texts)

    assert got.shape == (len(texts), DIMENSION)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, reference.encode(Modality.TEXT, texts), rtol=0, atol=2e-6)


def test_fp32_pictures_equal_the_reference(
    fp32: OnnxEncoder, reference: TransformersEncoder
) -> None:
    images = [*pictures(20), Image.new("L", (3, 70)), Image.new("RGBA", (1, 1))]

    got = fp32.encode(Modality.IMAGE, images)

    assert got.shape == (len(images), DIMENSION)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, reference.encode(Modality.IMAGE, images), rtol=0, atol=2e-6)


def test_int8_is_close_to_the_reference(int8: OnnxEncoder, reference: TransformersEncoder) -> None:
    texts, images = samples().texts, samples().images

    assert (
        cosines(int8.encode(Modality.TEXT, texts), reference.encode(Modality.TEXT, texts)).min()
        > 0.995
    )
    assert (
        cosines(int8.encode(Modality.IMAGE, images), reference.encode(Modality.IMAGE, images)).min()
        > 0.995
    )
    assert int8.describe().precision == "int8"


def test_an_exact_gelu_is_exact(tmp_path: Path) -> None:
    directory = build_tiny_clip(tmp_path / "gelu", activation="gelu")
    export_missing(str(directory), tmp_path / "models", precision="fp32", samples=samples)
    got = OnnxEncoder(str(directory), tmp_path / "models", precision="fp32")
    expected = TransformersEncoder(str(directory), device="cpu")

    np.testing.assert_allclose(
        got.encode(Modality.TEXT, TEXTS), expected.encode(Modality.TEXT, TEXTS), rtol=0, atol=2e-6
    )


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_vector_does_not_depend_on_its_batch(
    request: pytest.FixtureRequest, precision: str
) -> None:
    encoder: OnnxEncoder = request.getfixturevalue(precision)
    images = pictures(11)
    alone = np.concatenate([encoder.encode(Modality.TEXT, [text]) for text in TEXTS])
    each = np.concatenate([encoder.encode(Modality.IMAGE, [image]) for image in images])

    np.testing.assert_allclose(encoder.encode(Modality.TEXT, TEXTS), alone, rtol=0, atol=2e-6)
    np.testing.assert_allclose(encoder.encode(Modality.IMAGE, images), each, rtol=0, atol=2e-6)


def test_many_texts_come_back_in_their_order(
    fp32: OnnxEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = fp32.encode(Modality.TEXT, TEXTS)
    monkeypatch.setattr(onnx_towers, "TEXT_BATCH", 3)

    np.testing.assert_allclose(fp32.encode(Modality.TEXT, TEXTS), expected, rtol=0, atol=2e-6)


def test_every_vector_has_length_one(int8: OnnxEncoder) -> None:
    vectors = np.concatenate(
        [int8.encode(Modality.TEXT, TEXTS), int8.encode(Modality.IMAGE, pictures(9))]
    )

    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=0, atol=1e-6)


def test_nothing_encodes_to_nothing(fp32: OnnxEncoder) -> None:
    assert fp32.encode(Modality.TEXT, []).shape == (0, DIMENSION)
    assert fp32.encode(Modality.IMAGE, []).shape == (0, DIMENSION)


def test_a_text_of_100_000_characters_is_cut(
    fp32: OnnxEncoder, reference: TransformersEncoder
) -> None:
    texts = ["fox " * 25_000, "x" * 100_000]

    np.testing.assert_allclose(
        fp32.encode(Modality.TEXT, texts), reference.encode(Modality.TEXT, texts), rtol=0, atol=2e-6
    )


def test_both_fp32_encoders_describe_the_same_space(
    fp32: OnnxEncoder, reference: TransformersEncoder
) -> None:
    assert fp32.describe() == reference.describe()
    assert fp32.dimension == DIMENSION


def test_a_closed_encoder_loads_again(fp32: OnnxEncoder) -> None:
    before = fp32.encode(Modality.TEXT, ["the fox"])
    fp32.close()

    np.testing.assert_array_equal(fp32.encode(Modality.TEXT, ["the fox"]), before)


def test_an_unknown_precision_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"^Precision 'int4' is unknown: choose one of auto, "):
        OnnxEncoder("starter", tmp_path, precision="int4")


def test_cuda_is_refused_where_there_is_none(tiny_clip: Path, models: Path) -> None:
    encoder = OnnxEncoder(str(tiny_clip), models, precision="fp32", device="cuda")

    with pytest.raises(EncoderError, match="install onnxruntime-gpu"):
        encoder.encode(Modality.TEXT, ["the fox"])


def test_a_damaged_tower_is_named(tiny_clip: Path, models: Path, tmp_path: Path) -> None:
    encoder = OnnxEncoder(str(tiny_clip), tmp_path, precision="fp32")
    for path in models.rglob("*"):
        if path.is_file():
            copy = tmp_path / path.relative_to(models)
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(path.read_bytes())
    [tower] = tmp_path.glob("*-fp32/text.onnx")
    tower.write_bytes(b"damaged")

    with pytest.raises(EncoderError, match=f"^{tower} cannot be loaded .* delete {tower.parent}"):
        encoder.encode(Modality.TEXT, ["the fox"])


SERVING = """
import json, sys
from PIL import Image
from embeddings.encoders.base import Modality
from embeddings.encoders.serving.onnx_encoder import OnnxEncoder

slow = ("torch", "transformers", "onnx", "huggingface_hub", "torchvision")
encoder = OnnxEncoder(sys.argv[1], sys.argv[2], precision="int8")
constructed = "onnxruntime" in sys.modules
encoder.describe()
described = "onnxruntime" in sys.modules
encoder.encode(Modality.TEXT, ["the fox"])
after_text = encoder._towers._image is not None
encoder.encode(Modality.IMAGE, [Image.new("RGB", (9, 9))])
print(json.dumps({
    "runtime when constructed": constructed,
    "runtime when described": described,
    "image tower after a text": after_text,
    "slow imports": [name for name in slow if name in sys.modules],
}))
"""


def test_a_serving_process_loads_only_what_it_uses(tiny_clip: Path, models: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SERVING, str(tiny_clip), str(models)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(done.stdout) == {
        "runtime when constructed": False,
        "runtime when described": False,
        "image tower after a text": False,
        "slow imports": [],
    }


def test_an_image_process_does_not_load_the_text_tower(fp32: OnnxEncoder) -> None:
    fp32.encode(Modality.IMAGE, pictures(1))

    assert fp32._towers is not None
    assert fp32._towers._text is None
