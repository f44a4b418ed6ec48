from __future__ import annotations

import os
from pathlib import Path

import pytest

from catalog.ingest.folders import ImageFolder
from catalog.ingest.records import ItemRecord
from catalog.ingest.watching import FolderWatch
from tests.catalog.pictures import encoded, photo


@pytest.fixture
def album(tmp_path: Path) -> Path:
    folder = tmp_path / "album"
    (folder / "sub").mkdir(parents=True)
    for name in ("cat.jpg", "sub/dog.jpg"):
        (folder / name).write_bytes(encoded(photo()))
    return folder


def settled(watch: FolderWatch) -> list[str | None]:
    """Look, and take in what has settled; returns the ids."""
    look = watch.look()
    records = [record for record in watch.read(look) if isinstance(record, ItemRecord)]
    watch.stored(look)
    return [record.item_id for record in records]


def test_pictures_settle_at_the_second_look_and_once(album: Path) -> None:
    watch = FolderWatch(ImageFolder(album, link=False))
    assert settled(watch) == []
    assert settled(watch) == ["cat.jpg", "sub:dog.jpg"]
    assert settled(watch) == []


def test_a_picture_that_is_being_written_is_left_until_it_is_done(album: Path) -> None:
    watch = FolderWatch(ImageFolder(album, link=False))
    settled(watch)
    settled(watch)
    data = encoded(photo(200, 100))
    with (album / "new.jpg").open("wb") as file:
        for start in range(0, len(data), 1000):
            file.write(data[start : start + 1000])
            file.flush()
            assert settled(watch) == []
    assert settled(watch) == ["new.jpg"]
    os.utime(album / "cat.jpg", ns=(1, 1))
    assert (settled(watch), settled(watch)) == ([], ["cat.jpg"])


def test_a_caption_that_comes_later_is_noticed(album: Path) -> None:
    watch = FolderWatch(ImageFolder(album, link=False))
    settled(watch)
    settled(watch)
    (album / "sub" / "dog.txt").write_text("A dog")
    (album / "sub" / "notes.md").write_text("x")
    settled(watch)
    (record,) = watch.read(watch.look())
    assert isinstance(record, ItemRecord)
    assert (record.item_id, record.caption) == ("sub:dog.jpg", "A dog")


def test_what_was_not_stored_is_read_again(album: Path) -> None:
    watch = FolderWatch(ImageFolder(album, link=False))
    watch.look()
    assert len(list(watch.read(watch.look()))) == 2
    assert len(list(watch.read(watch.look()))) == 2


def test_a_picture_is_gone_when_two_looks_miss_it(album: Path) -> None:
    watch = FolderWatch(ImageFolder(album, link=False))
    settled(watch)
    assert watch.look().gone  # nobody knows what vanished before
    settled(watch)
    watch.pruned()
    (album / "cat.jpg").rename(album / "away")
    look = watch.look()
    assert (look.gone, look.present) == (False, frozenset({"cat.jpg", "sub:dog.jpg"}))
    look = watch.look()
    assert (look.gone, look.present) == (True, frozenset({"sub:dog.jpg"}))
    watch.pruned()
    assert not watch.look().gone


def test_of_a_folder_that_is_away_nothing_is_known(album: Path) -> None:
    watch = FolderWatch(ImageFolder(album, link=False))
    settled(watch)
    settled(watch)
    watch.pruned()
    album.rename(album.with_name("away"))
    for _ in range(3):
        look = watch.look()
        assert (look.gone, len(look.unreadable)) == (False, 1)
    album.with_name("away").rename(album)
    assert (settled(watch), settled(watch)) == ([], [])
