from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from search.comparison import asked
from search.comparison.asked import note_asked, recent_texts, write_asked
from search.models import AskedText

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_gathered() -> Iterator[None]:
    asked._gathered.clear()
    yield
    asked._gathered.clear()


def test_texts_are_written_once_the_newest_first() -> None:
    for text in ("red apple", "  green \n tea ", "red apple"):
        note_asked(text)
    assert recent_texts(10) == []
    assert write_asked(at_once=True) == 2
    note_asked("red apple")
    assert write_asked(at_once=True) == 1
    assert recent_texts(10) == ["red apple", "green tea"]
    assert recent_texts(1) == ["red apple"]


def test_nothing_tells_who_asked_or_at_what_time() -> None:
    assert {field.name for field in AskedText._meta.fields} == {
        "id",
        "text",
        "asked_on",
        "is_drawn",
    }


def test_the_log_keeps_as_many_texts_as_are_wished(settings: Settings) -> None:
    settings.MMSEARCH_QUERY_LOG = 3
    for number in range(5):
        note_asked(f"text {number}")
        write_asked(at_once=True)
    assert recent_texts(10) == ["text 4", "text 3", "text 2"]


def test_a_log_that_is_switched_off_is_emptied_and_takes_nothing(
    settings: Settings,
) -> None:
    note_asked("before")
    write_asked(at_once=True)
    settings.MMSEARCH_QUERY_LOG = 0
    note_asked("after")
    assert write_asked(at_once=True) == 0
    assert AskedText.objects.count() == 0


def test_what_is_too_long_or_empty_is_not_kept() -> None:
    for text in ("", " \n", "x" * 501):
        note_asked(text)
    assert write_asked(at_once=True) == 0


def test_gathering_is_bounded() -> None:
    for number in range(asked.GATHERED + 10):
        note_asked(f"text {number}")
    assert write_asked(at_once=True) == asked.GATHERED


@pytest.mark.parametrize(("share", "drawn"), [(0.0, 0), (1.0, 20)])
def test_a_share_is_drawn_for_the_space_beside(
    settings: Settings, share: float, drawn: int
) -> None:
    settings.MMSEARCH_SHADOW = share
    for number in range(20):
        note_asked(f"text {number}")
    write_asked(at_once=True)
    assert AskedText.objects.filter(is_drawn=True).count() == drawn
