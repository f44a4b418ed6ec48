from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from embeddings.encoders.base import EncoderError, Modality
from embeddings.encoders.families.registry import FAMILIES, open_checkpoint
from embeddings.encoders.finding.model_files import local_files, located, resolve_model
from tests.embeddings.encoders.tiny_families import BUILDERS, DIMENSION

INSTEAD = "altclip, chinese_clip, clip, metaclip_2, siglip, siglip2, and text models of"


@pytest.fixture
def text_copy(text_model: Path, tmp_path: Path) -> Path:
    return shutil.copytree(text_model, tmp_path / "copy")


def test_every_family_is_tried_here() -> None:
    assert {name.partition(" ")[0] for name in BUILDERS} == set(FAMILIES)


@pytest.mark.parametrize("name", BUILDERS)
def test_a_directory_is_described_by_its_family(families: dict[str, Path], name: str) -> None:
    files = resolve_model(str(families[name]))

    description = files.describe("fp32")

    assert (description.model, len(description.revision)) == (name, 40)
    assert description.dimension == (32 if "siglip" in name else DIMENSION)
    assert set(files.checkpoint.towers()) == {Modality.IMAGE, Modality.TEXT}


def test_an_unknown_family_is_told_those_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "blip"}', encoding="utf-8")

    with pytest.raises(EncoderError) as caught:
        local_files(str(tmp_path))

    assert str(caught.value) == (
        f"{tmp_path}/config.json describes a model of type 'blip', which is none of those that can "
        f"be used: {INSTEAD} sentence-transformers."
    )


def test_a_pair_is_named_by_both_its_halves(families: dict[str, Path], text_model: Path) -> None:
    pair = resolve_model(f"{text_model} + {families['clip']}")
    other = resolve_model(f"{text_model}+{families['altclip']}")

    assert (pair.name, pair.directory) == ("sentences+clip", text_model)
    assert pair.describe("fp32").dimension == DIMENSION
    assert len({pair.revision, other.revision, resolve_model(str(families["clip"])).revision}) == 3
    assert {Path(str(path)).parent.name for path, _size, _time in pair.state} == {
        *("sentences", "1_Pooling", "2_Dense", "clip"),
    }


def test_a_name_is_told_so_that_it_is_found_from_any_folder(
    families: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(families["clip"].parent)
    clip = str(families["clip"])

    assert located(" clip/ ") == clip
    assert located("team/texts + ./clip") == f"team/texts+{clip}"
    assert located("team/texts") == "team/texts"
    assert located("") == ""


@pytest.mark.parametrize("half", ["texts", "pictures"])
def test_a_changed_half_is_another_revision(
    families: dict[str, Path], text_model: Path, tmp_path: Path, half: str
) -> None:
    texts = shutil.copytree(text_model, tmp_path / "texts")
    pictures = shutil.copytree(families["clip"], tmp_path / "pictures")
    before = resolve_model(f"{texts}+{pictures}").revision
    changed = {"texts": texts / "1_Pooling" / "config.json", "pictures": pictures / "config.json"}
    with changed[half].open("a") as file:
        file.write(" ")

    assert resolve_model(f"{texts}+{pictures}").revision != before


def test_a_text_model_alone_is_told_how_to_name_its_pictures(text_model: Path) -> None:
    with pytest.raises(EncoderError, match=r"has texts alone: name the model of its pictures"):
        local_files(str(text_model))


def test_a_pair_of_two_dimensions_is_refused(families: dict[str, Path], text_model: Path) -> None:
    with pytest.raises(EncoderError, match=r"have 24 dimensions, .* have 32: these two do not"):
        local_files(f"{text_model}+{families['siglip']}")


def test_a_model_with_pictures_takes_no_others(families: dict[str, Path]) -> None:
    with pytest.raises(EncoderError, match="has pictures of its own"):
        local_files(f"{families['clip']}+{families['altclip']}")


def test_a_whole_model_one_directory_down_is_found(
    families: dict[str, Path], text_model: Path, tmp_path: Path
) -> None:
    shutil.copytree(families["clip"], tmp_path / "0_CLIPModel")
    modules = [{"idx": 0, "path": "0_CLIPModel", "type": "sentence_transformers.models.CLIPModel"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules), encoding="utf-8")

    assert local_files(f"{text_model}+{tmp_path}") is not None
    assert open_checkpoint(tmp_path).directory == tmp_path / "0_CLIPModel"


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ([], "lists no modules: copy the model again"),
        ([{"path": ""}], "lists no modules: copy the model again"),
        (
            [{"path": "", "type": "x.Transformer"}, {"path": "1", "type": "x.LSTM"}],
            "Transformer, LSTM",
        ),
    ],
)
def test_modules_that_are_not_known_are_named(
    families: dict[str, Path],
    text_copy: Path,
    modules: list[dict[str, str]],
    message: str,
) -> None:
    (text_copy / "modules.json").write_text(json.dumps(modules), encoding="utf-8")

    with pytest.raises(EncoderError, match=message):
        local_files(f"{text_copy}+{families['clip']}")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("1_Pooling", {"pooling_mode_mean_tokens": False}, "by nothing: only by cls or mean"),
        ("1_Pooling", {"pooling_mode_max_tokens": True}, "by pooling_mode_max_tokens, mean"),
        ("2_Dense", {"activation_function": "torch.nn.Softmax"}, "the activation Softmax"),
        ("2_Dense", {"out_features": 12}, "these two do not belong together"),
        ("2_Dense", {"in_features": 12}, "cannot be loaded"),
    ],
)
def test_a_text_model_that_would_be_read_wrongly_is_refused(
    families: dict[str, Path],
    text_copy: Path,
    name: str,
    change: dict[str, object],
    message: str,
) -> None:
    path = text_copy / name / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change), encoding="utf-8")

    with pytest.raises(EncoderError, match=message):
        resolve_model(f"{text_copy}+{families['clip']}").checkpoint.towers()


def test_a_model_without_a_tokenizer_is_told(families: dict[str, Path], tmp_path: Path) -> None:
    directory = shutil.copytree(families["chinese_clip"], tmp_path / "copy")
    (directory / "vocab.txt").unlink()

    with pytest.raises(EncoderError, match=r"has no tokenizer: it needs tokenizer\.json"):
        open_checkpoint(directory).serialised_tokenizer()
