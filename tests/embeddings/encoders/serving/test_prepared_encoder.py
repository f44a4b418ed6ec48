"""Against the reference encoder; what a serving process loads, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embeddings.encoders.base import EncoderError, Modality, Purpose, Vectors
from embeddings.encoders.preparing.export import export_missing
from embeddings.encoders.preparing.transformers_encoder import TransformersEncoder
from embeddings.encoders.serving.openvino_towers import ROUNDS, OpenVinoTowers
from embeddings.encoders.serving.prepared_encoder import PreparedEncoder
from tests.embeddings.encoders.conftest import TEXTS, pictures, samples
from tests.embeddings.encoders.tiny_clip import DIMENSION, build_tiny_clip

PROJECT = Path(__file__).resolve().parents[4]


def cosines(a: Vectors, b: Vectors) -> Vectors:
    products: Vectors = (a * b).sum(axis=1)
    return products


def test_fp32_texts_equal_the_reference(
    fp32: PreparedEncoder, reference: TransformersEncoder
) -> None:
    texts = [*TEXTS, *samples()[Modality.TEXT]]

    got = fp32.encode(Modality.TEXT, texts)

    assert got.shape == (len(texts), DIMENSION)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, reference.encode(Modality.TEXT, texts), rtol=0, atol=2e-6)


def test_fp32_pictures_equal_the_reference(
    fp32: PreparedEncoder, reference: TransformersEncoder
) -> None:
    images = [*pictures(20), Image.new("L", (3, 70)), Image.new("RGBA", (1, 1))]

    got = fp32.encode(Modality.IMAGE, images)

    assert got.shape == (len(images), DIMENSION)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, reference.encode(Modality.IMAGE, images), rtol=0, atol=2e-6)


def test_int8_is_close_to_the_reference(
    int8: PreparedEncoder, reference: TransformersEncoder
) -> None:
    texts, images = samples()[Modality.TEXT], samples()[Modality.IMAGE]

    assert (
        cosines(int8.encode(Modality.TEXT, texts), reference.encode(Modality.TEXT, texts)).min()
        > 0.995
    )
    assert (
        cosines(int8.encode(Modality.IMAGE, images), reference.encode(Modality.IMAGE, images)).min()
        > 0.995
    )
    assert int8.describe().precision == "int8-dynamic"


def test_an_exact_gelu_is_exact(tmp_path: Path) -> None:
    directory = build_tiny_clip(tmp_path / "gelu", activation="gelu")
    export_missing(str(directory), tmp_path / "models", precision="fp32", samples=samples)
    got = PreparedEncoder(str(directory), tmp_path / "models")
    expected = TransformersEncoder(str(directory), device="cpu")

    np.testing.assert_allclose(
        got.encode(Modality.TEXT, TEXTS), expected.encode(Modality.TEXT, TEXTS), rtol=0, atol=2e-6
    )


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_vector_does_not_depend_on_its_batch(
    request: pytest.FixtureRequest, precision: str
) -> None:
    encoder: PreparedEncoder = request.getfixturevalue(precision)
    images = pictures(11)
    alone = np.concatenate([encoder.encode(Modality.TEXT, [text]) for text in TEXTS])
    each = np.concatenate([encoder.encode(Modality.IMAGE, [image]) for image in images])

    np.testing.assert_allclose(encoder.encode(Modality.TEXT, TEXTS), alone, rtol=0, atol=2e-6)
    np.testing.assert_allclose(encoder.encode(Modality.IMAGE, images), each, rtol=0, atol=2e-6)


def test_many_inputs_come_back_in_their_order_however_they_are_run(
    fp32: PreparedEncoder, reference: TransformersEncoder
) -> None:
    texts = [*samples()[Modality.TEXT], *TEXTS] * 4
    expected = reference.encode(Modality.TEXT, texts)

    for _ in range(2 * ROUNDS + 2):  # both ways of running, and the one that was kept
        got = fp32.encode(Modality.TEXT, texts)
        np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6)


def test_many_threads_get_their_own_vectors(
    fp32: PreparedEncoder, reference: TransformersEncoder
) -> None:
    texts = samples()[Modality.TEXT]
    expected = reference.encode(Modality.TEXT, texts)

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda text: fp32.encode(Modality.TEXT, [text])[0], texts))

    np.testing.assert_allclose(np.array(got), expected, rtol=0, atol=2e-6)


def test_every_vector_has_length_one(int8: PreparedEncoder) -> None:
    vectors = np.concatenate(
        [int8.encode(Modality.TEXT, TEXTS), int8.encode(Modality.IMAGE, pictures(9))]
    )

    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=0, atol=1e-6)


def test_nothing_encodes_to_nothing(fp32: PreparedEncoder) -> None:
    assert fp32.encode(Modality.TEXT, []).shape == (0, DIMENSION)
    assert fp32.encode(Modality.IMAGE, []).shape == (0, DIMENSION)


def test_a_text_of_100_000_characters_is_cut(
    fp32: PreparedEncoder, reference: TransformersEncoder
) -> None:
    texts = ["fox " * 25_000, "x" * 100_000]

    np.testing.assert_allclose(
        fp32.encode(Modality.TEXT, texts), reference.encode(Modality.TEXT, texts), rtol=0, atol=2e-6
    )


def test_both_fp32_encoders_describe_the_same_space(
    fp32: PreparedEncoder, reference: TransformersEncoder
) -> None:
    assert fp32.describe() == reference.describe()
    assert fp32.dimension == DIMENSION


def test_a_revision_is_served_after_its_files_changed(tiny_clip: Path, models: Path) -> None:
    revision = PreparedEncoder(str(tiny_clip), models).describe().revision

    encoder = PreparedEncoder("/no/such/place", models, revision=revision)

    assert encoder.describe().revision == revision
    assert encoder.encode(Modality.TEXT, ["the fox"]).shape == (1, DIMENSION)


def test_another_revision_than_wanted_is_not_prepared(tiny_clip: Path, tmp_path: Path) -> None:
    encoder = PreparedEncoder(str(tiny_clip), tmp_path / "models", revision="f" * 40)

    with pytest.raises(EncoderError, match=r"holds another revision by now, .* in place of ffffff"):
        encoder.describe()
    assert not (tmp_path / "models").exists()


def test_what_ships_with_a_model_is_kept_for_its_space(tmp_path: Path) -> None:
    shipped = PreparedEncoder("starter", tmp_path)
    revision = shipped.describe().revision
    assert list(tmp_path.iterdir()) == []

    PreparedEncoder("starter", tmp_path, revision=revision).describe()

    after_an_update = PreparedEncoder("/no/such/place", tmp_path, revision=revision)
    assert after_an_update.describe() == shipped.describe()


def test_cuda_is_refused_where_there_is_none(tiny_clip: Path, models: Path) -> None:
    encoder = PreparedEncoder(str(tiny_clip), models, device="cuda")

    with pytest.raises(EncoderError, match="install a CUDA build of PyTorch"):
        encoder.encode(Modality.TEXT, ["the fox"])


def test_a_damaged_tower_is_named(tiny_clip: Path, models: Path, tmp_path: Path) -> None:
    encoder = PreparedEncoder(str(tiny_clip), tmp_path)
    for path in models.rglob("*"):
        if path.is_file():
            copy = tmp_path / path.relative_to(models)
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(path.read_bytes())
    [tower] = tmp_path.glob("*-cpu/text.xml")
    tower.write_bytes(b"damaged")

    with pytest.raises(EncoderError, match=f"^{tower} cannot be loaded .* delete {tower.parent}"):
        encoder.encode(Modality.TEXT, ["the fox"])


SERVING = """
import json, sys
from PIL import Image
from embeddings.encoders.base import Modality
from embeddings.encoders.serving.prepared_encoder import PreparedEncoder

slow = ("torch", "transformers", "nncf", "huggingface_hub", "torchvision")
encoder = PreparedEncoder(sys.argv[1], sys.argv[2])
constructed = "openvino" in sys.modules
encoder.describe()
described = "openvino" in sys.modules
encoder.encode(Modality.TEXT, ["the fox"])
after_text = Modality.IMAGE in encoder._towers._towers
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


def test_an_image_process_does_not_load_the_text_tower(fp32: PreparedEncoder) -> None:
    fp32.encode(Modality.IMAGE, pictures(1))

    assert isinstance(fp32._towers, OpenVinoTowers)
    assert list(fp32._towers._towers) == [Modality.IMAGE]


SILENT = """
import socket, sys
import torch

def refuse(*arguments, **_):
    sys.stderr.write("a connection was tried")
    raise OSError("no network")

class Refusing(socket.socket):
    connect = connect_ex = refuse

socket.socket = Refusing
socket.create_connection = socket.getaddrinfo = refuse
from embeddings.encoders.preparing.networks import _quiet
from embeddings.encoders.serving.openvino_runtime import load_openvino

openvino = load_openvino()
model = openvino.convert_model(torch.nn.Linear(2, 2), example_input=torch.zeros(1, 2))
with _quiet() as nncf:
    nncf.compress_weights(model)
print(sys.modules["openvino_telemetry"])
"""


def test_neither_openvino_nor_nncf_reports_to_anybody(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SILENT],
        cwd=PROJECT,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "connection" not in done.stderr
    assert done.stdout == "None\n"
    assert not list(tmp_path.iterdir())  # the id that reports would carry


def test_one_way_of_running_is_kept_and_queries_try_none(fp32: PreparedEncoder) -> None:
    towers = OpenVinoTowers(fp32._load().prepared, threads=2)

    def tried_and_copies(batches: int, purpose: Purpose) -> tuple[bool, int]:
        for _ in range(batches):
            towers.encode(Modality.TEXT, (TEXTS * 40)[:256], purpose=purpose)
        tower = towers._towers[Modality.TEXT]
        return tower._tried, 1 if tower._apart is None else 2

    assert tried_and_copies(2 * ROUNDS + 2, Purpose.QUERY) == (False, 1)
    assert tried_and_copies(2, Purpose.DOCUMENT) == (False, 1)  # a few items are not worth it
    assert tried_and_copies(1, Purpose.DOCUMENT) == (False, 2)
    assert tried_and_copies(2 * ROUNDS, Purpose.DOCUMENT) == (True, 1)
