"""Kept query pictures: found by their token alone, and for a day."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from django.conf import settings
from PIL import Image

from search.pages import query_pictures


def _file(token: str) -> Path:
    return Path(settings.MEDIA_ROOT) / query_pictures.name(token)


def test_kept_picture_comes_back_pixel_by_pixel() -> None:
    image = Image.effect_noise((40, 30), 80).convert("RGB")
    assert query_pictures.find(query_pictures.keep(image)).tobytes() == image.tobytes()


def test_old_pictures_are_cleared_by_the_next() -> None:
    old = query_pictures.keep(Image.new("RGB", (4, 4)))
    recent = query_pictures.keep(Image.new("RGB", (4, 4)))
    past = time.time() - query_pictures.KEPT - 60
    os.utime(_file(old), (past, past))
    query_pictures.keep(Image.new("RGB", (4, 4)))
    assert not _file(old).exists()
    assert _file(recent).exists()
    with pytest.raises(query_pictures.PictureGone, match="Please choose it again"):
        query_pictures.find(old)


def test_the_oldest_goes_when_too_many_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(Path(settings.MEDIA_ROOT) / query_pictures.FOLDER, ignore_errors=True)
    monkeypatch.setattr(query_pictures, "MAX_KEPT", 2)
    tokens = [query_pictures.keep(Image.new("RGB", (4, 4))) for _ in range(2)]
    for age, token in enumerate(tokens, start=1):
        os.utime(_file(token), (time.time() - 100 + age,) * 2)
    tokens.append(query_pictures.keep(Image.new("RGB", (4, 4))))
    assert [_file(token).exists() for token in tokens] == [False, True, True]


@pytest.mark.parametrize(
    "token", ["", "../../secret_key", "a" * 21, "a" * 22, "ä" * 22, "\x00" * 22]
)
def test_foreign_tokens_find_nothing(token: str) -> None:
    with pytest.raises(query_pictures.PictureGone):
        query_pictures.find(token)
