from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from catalog import export
from catalog.ingest import ItemRecord, UploadedImage, ingest, open_source
from catalog.models import Item
from embeddings.models import EmbeddingSpace
from tests.catalog.pictures import encoded, files, photo
from tests.signals import press_ctrl_c


@pytest.fixture
def media(tmp_path: Path, settings: Settings) -> Path:
    settings.MEDIA_ROOT = tmp_path / "media"
    return tmp_path / "media"


@pytest.fixture
def catalogue(media: Path, tmp_path: Path, db: None) -> list[dict[str, Any]]:
    """Items of every kind: awkward words, pictures of one name, a linked picture."""
    album = tmp_path / "album"
    album.mkdir()
    (album / "cat.jpg").write_bytes(encoded(photo(80, 60)))
    names = {
        "a b": "cat.jpg",
        "a_b": "cat.jpg",
        "dots": "..",
        "long": "ü" * 200,
        "odd": ' x,\n".jpg',
    }
    pictured = [
        ItemRecord(
            item_id=item_id,
            image=UploadedImage(data=encoded(photo(64, 48 + n)), filename=name),
            tags=("b", "ä"),
        )
        for n, (item_id, name) in enumerate(names.items())
    ]
    worded = ItemRecord(
        item_id="w,\"'", caption=' "one"\r\ntwo,\rthree;\t=1+1 ', title=" T, ", category="K|k"
    )
    assert not [o for o in ingest([*pictured, worded]) if o.reason]
    assert not [o for o in ingest(open_source(album, link=True)) if o.reason]
    return everything()


def everything() -> list[dict[str, Any]]:
    """All that is known about all items but keys, times and where files are."""
    kept = ("item_id", "title", "caption", "category", "image_hash", "caption_hash", "width")
    return [
        {**{name: getattr(item, name) for name in kept}, "tags": {str(t) for t in item.tags.all()}}
        for item in Item.objects.order_by("item_id")
    ]


def run(*arguments: str | Path, status: int = 0) -> str:
    out = io.StringIO()
    code = 0
    try:
        call_command("export_items", *map(str, arguments), stdout=out)
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    assert code == status
    return out.getvalue()


@pytest.mark.parametrize("name", ["all.csv", "all.jsonl", "all.csv.gz", "all.jsonl.gz"])
def test_what_is_exported_comes_back_equal(
    catalogue: list[dict[str, Any]], tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PAGE", 2)
    originals = dict(Item.objects.values_list("item_id", "original_filename"))
    target, copies = tmp_path / name, tmp_path / "copies"
    printed = run(target, "--images", copies)
    assert printed.startswith(f"7 items written to {target}.\n")
    Item.objects.all().delete()
    out = io.StringIO()
    call_command("ingest_dataset", str(target), "--images", str(copies), stdout=out)
    assert "7 new, 0 updated, 0 unchanged, 0 rejected." in out.getvalue()
    assert everything() == catalogue
    back = dict(Item.objects.values_list("item_id", "original_filename"))
    same = {item_id for item_id in originals if originals[item_id] == back[item_id]}
    assert same == originals.keys() - {"dots", "long"}  # no file can have these names


def test_pictures_may_stay_where_they_are(
    catalogue: list[dict[str, Any]], tmp_path: Path, media: Path
) -> None:
    target = tmp_path / "some.csv"
    with pytest.raises(CommandError, match=r"'cat.jpg' is in a linked folder: .* --images DIR"):
        run(target)
    assert not target.exists()
    before = files(media)
    run(target, "a b", "a_b", "nobody")
    rows = target.read_text().splitlines()
    assert len(rows) == 3
    assert files(media) == before
    records = list(open_source(target, images=media))
    assert all(isinstance(record, ItemRecord) and record.image for record in records)


def test_a_tag_with_a_comma_is_kept_by_json_lines_alone(
    space: EmbeddingSpace, tmp_path: Path
) -> None:
    assert list(ingest([ItemRecord(item_id="a", caption="x", tags=("b, c",))]))
    with pytest.raises(CommandError, match=r"The tag 'b, c' of 'a' holds a comma.*\.jsonl"):
        run(tmp_path / "all.csv")
    run(tmp_path / "all.jsonl")
    (record,) = open_source(tmp_path / "all.jsonl")
    assert isinstance(record, ItemRecord)
    assert record.tags == ("b, c",)
    with pytest.raises(CommandError, match=r"all.xlsx has to end in .csv or .jsonl"):
        run(tmp_path / "all.xlsx")
    assert files(tmp_path) == ["all.jsonl"]


def test_options_say_which_items_are_written(
    indexed_items: dict[str, Item], tmp_path: Path
) -> None:
    target = tmp_path / "some.csv"
    run(target, "--category", "cold", "--tag", "sea", "--state", "indexed")
    header, row = target.read_text().splitlines()
    assert header == "id,image_filename,caption,title,tags,category"
    assert row == f'blue,{indexed_items["blue"].image.name},,Blue,"colour,sea",cold'


def test_a_missing_picture_is_said(
    make_item: Callable[..., Item],
    media: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    item = make_item(colour="red", item_id="red", caption="words")
    (media / str(item.image.name)).unlink()
    run(tmp_path / "all.csv", status=1)
    assert "The picture of 'red' is missing: written without it." in capsys.readouterr().err
    assert (tmp_path / "all.csv").read_text().splitlines()[1] == "red,,words,,,"


def test_interrupted_it_leaves_the_former_file(
    space: EmbeddingSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PAGE", 2)
    for number in range(5):
        Item.objects.create(item_id=f"i{number}", caption="x")
    target = tmp_path / "all.csv.gz"
    target.write_bytes(gzip.compress(b"former"))
    row = export._row

    def pressed(item: Item, image: str) -> Any:
        if item.item_id == "i1":
            press_ctrl_c()
        return row(item, image)

    monkeypatch.setattr(export, "_row", pressed)
    run(target, status=130)
    assert files(tmp_path) == ["all.csv.gz"]
    assert gzip.decompress(target.read_bytes()) == b"former"
