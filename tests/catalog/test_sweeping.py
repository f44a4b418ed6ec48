from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pytest_django.fixtures import Settings

from catalog.models import Item
from catalog.sweeping import sweep_pictures
from tests.catalog.pictures import files

ORPHAN = "images/ab/cat_0123456789ab.jpg"


@pytest.fixture
def media(tmp_path: Path, settings: Settings) -> Path:
    settings.MEDIA_ROOT = tmp_path / "media"
    return tmp_path / "media"


def put(media: Path, name: str) -> None:
    (media / name).parent.mkdir(parents=True, exist_ok=True)
    (media / name).write_bytes(b"x")


def test_sweep_deletes_what_no_item_names_and_nothing_else(
    media: Path, make_item: Callable[..., Item]
) -> None:
    item = make_item(colour="red")
    held = {item.image.name} | ({item.preview.name} if item.preview else set())
    foreign = {
        "images/ab/holiday.jpg",
        "images/cat_0123456789ab.jpg",
        "queries/token.png",
        "other/ab/cat_0123456789ab.jpg",
        "linked/1/cat_0123456789ab.jpg",
    }
    orphans = {ORPHAN, "previews/ab/cat_0123456789ab.jpg", "images/ff/ä.b_0123456789ab_Xy12345.png"}
    for name in foreign | orphans:
        put(media, name)
    assert sweep_pictures() == 0
    assert set(files(media)) == held | foreign | orphans
    os.utime(media / ORPHAN, (0, 0))  # a copy keeps the time of its original
    assert sweep_pictures() == 0
    assert sweep_pictures(grace=0) == 3
    assert set(files(media)) == held | foreign


def test_sweep_follows_no_link(media: Path, tmp_path: Path, make_item: Callable[..., Item]) -> None:
    make_item(colour="red")
    mine = tmp_path / "mine"
    put(mine, "cat_0123456789ab.jpg")
    (media / "images" / "zz").symlink_to(mine / "cat_0123456789ab.jpg")
    (media / "images" / "ab").mkdir(exist_ok=True)
    (media / ORPHAN).symlink_to(mine / "cat_0123456789ab.jpg")
    assert sweep_pictures(grace=0) == 0
    assert files(mine) == ["cat_0123456789ab.jpg"]


@pytest.mark.usefixtures("db")
def test_sweep_keeps_everything_where_the_database_knows_no_picture(media: Path) -> None:
    put(media, ORPHAN)
    Item.objects.create(item_id="a", caption="x")
    assert sweep_pictures(grace=0) == 0
    assert files(media) == [ORPHAN]


def test_sweep_goes_on_where_two_names_look_alike(
    media: Path, make_item: Callable[..., Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that two names share keeps a file; one that is wrong deletes none that is named."""
    item = make_item(colour="red")
    put(media, ORPHAN)
    monkeypatch.setattr("catalog.sweeping._held", lambda: np.array([-1], np.int64))
    assert sweep_pictures(grace=0) == 1
    assert item.image.name in files(media)


@pytest.mark.django_db
def test_sweep_deletes_what_a_kill_left_unfinished(media: Path) -> None:
    put(media, ".incoming-x1y2")
    put(media, "queries/.incoming-kept")
    assert sweep_pictures() == 0
    assert sweep_pictures(grace=0) == 1
    assert files(media) == ["queries/.incoming-kept"]
