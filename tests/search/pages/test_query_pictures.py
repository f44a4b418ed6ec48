"""Kept query pictures: found by their token alone, and for a day."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
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


@pytest.fixture
def keep_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], str]:
    """Keep a picture some seconds ago."""

    def keep(age: float) -> str:
        with monkeypatch.context() as patch:
            then = time.time() - age
            patch.setattr("search.pages.query_pictures.time.time", lambda: then)
            return query_pictures.keep(Image.new("RGB", (4, 4)))

    return keep


def test_old_pictures_are_cleared_by_the_next(keep_at: Callable[[float], str]) -> None:
    old, recent = keep_at(query_pictures.KEPT + 60), keep_at(query_pictures.KEPT - 60)
    former = Path(settings.MEDIA_ROOT) / query_pictures.FOLDER / f"{'a' * 22}.png"
    former.write_bytes(b"of a release that named them without their time")
    keep_at(0)
    assert [file.exists() for file in (_file(old), former, _file(recent))] == [False, False, True]
    with pytest.raises(query_pictures.PictureGone, match="Please choose it again"):
        query_pictures.find(old)


def test_the_oldest_goes_when_too_many_are_kept(
    monkeypatch: pytest.MonkeyPatch, keep_at: Callable[[float], str]
) -> None:
    shutil.rmtree(Path(settings.MEDIA_ROOT) / query_pictures.FOLDER, ignore_errors=True)
    monkeypatch.setattr(query_pictures, "MAX_KEPT", 2)
    tokens = [keep_at(age) for age in (100, 50, 0)]
    assert [_file(token).exists() for token in tokens] == [False, True, True]


@pytest.mark.parametrize(
    "token",
    ["", "../../secret_key", "a" * 22, f"68e1f0aa-{'a' * 21}", f"68e1f0aa-{'a' * 22}", "ä" * 31],
)
def test_foreign_tokens_find_nothing(token: str) -> None:
    with pytest.raises(query_pictures.PictureGone):
        query_pictures.find(token)
