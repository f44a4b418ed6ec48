from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from catalog.models import Item
from catalog.words import Kind, asking, highlight, items_with, search_words, searching

pytestmark = pytest.mark.django_db

MakeItem = Callable[..., Item]


def ids(text: str) -> list[str]:
    """Item ids found for a query, in order."""
    found = search_words(text).items.tolist()
    names = Item.objects.in_bulk(found)
    return [names[key].item_id for key in found]


def kinds(text: str) -> list[Kind]:
    return [Kind(kind) for kind in search_words(text).kinds.tolist()]


@pytest.fixture
def catalogue(make_item: MakeItem) -> None:
    make_item(item_id="lamp", title="QX-1042", caption="a desk lamp")
    make_item(item_id="note", title="Manual", caption="how to mend a QX 1042 at home")
    make_item(item_id="other", title="QX-1043", caption="another desk lamp")
    make_item(item_id="dogs", title="Dogs", caption="two dogs running on the beach")
    make_item(item_id="dog", caption="a dog runs", tags=("pets", "wet sand"))
    make_item(item_id="tower", title="東京タワー", caption="夜の東京タワー")
    make_item(item_id="face", caption="grinning 😀 face", category="smileys & emotion")
    make_item(item_id="telescope", caption="a telescope on the mountain")


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("QX-1042", ["lamp", "note"]),
        ("qx1042", ["lamp", "note"]),
        ("qx 1042", ["lamp", "note", "other"]),
        ("LAMP", ["lamp", "other"]),
        ("dog", ["dog", "dogs"]),
        ("dogs", ["dogs", "dog"]),
        ("wet sand", ["dog"]),
        ("京タ", ["tower"]),
        ("夜", ["tower"]),
        ("ワ", ["tower"]),
        ("😀", ["face"]),
        ("emotion", ["face"]),
        ("telescpoe", ["telescope"]),
        ("tele", ["telescope"]),
        ("te", []),
        ("tower", ["tower"]),
        ("asdfgh qwerty", []),
        ("!!!", []),
        ("", []),
    ],
)
def test_a_query_finds(text: str, found: list[str]) -> None:
    assert ids(text) == found


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("QX-1042", [Kind.EXACT, Kind.PHRASE]),
        ("manual", [Kind.EXACT]),
        ("tower", [Kind.EXACT]),
        ("running on the beach", [Kind.PHRASE, Kind.SOME]),
        ("beach running", [Kind.ALL, Kind.SOME]),
        ("desk telescpoe", [Kind.SOME, Kind.SOME, Kind.SOME]),
        ("the telescpoe ", [Kind.TYPO, Kind.SOME]),
        ("a telesc", [Kind.PREFIX, Kind.SOME, Kind.SOME, Kind.SOME]),
    ],
)
def test_a_match_has_its_kind(text: str, found: list[Kind]) -> None:
    assert kinds(text)[: len(found)] == found


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize(
    "text",
    [
        '"',
        '" OR "a',
        "title:dog",
        "{title}: dog",
        "NEAR(dog beach, 2)",
        "dog*",
        "^dog",
        "-dog",
        "dog AND NOT",
        "dog\x00beach",
        "(" * 500,
        "dog" * 5000,
        "a b " * 5000,
        "%s %d {}",
        "'; DROP TABLE catalog_item; --",
        "¶ |",
    ],
)
def test_no_query_is_an_error(text: str) -> None:
    search_words(text)
    items_with(text)
    items_with(text, inflected=True)


@pytest.mark.usefixtures("catalogue")
def test_coverage_is_the_share_of_what_the_words_say() -> None:
    every = search_words("dog beach telescope ")
    by_item = dict(zip(every.items.tolist(), every.coverage.tolist(), strict=True))
    shares = {item.item_id: by_item[item.pk] for item in Item.objects.filter(pk__in=by_item)}
    # Of eight items two have a dog, in some form, and one each has the others.
    dog, rare = np.log1p(6.5 / 2.5), np.log1p(7.5 / 1.5)
    total = dog + 2 * rare
    assert shares == pytest.approx(
        {"dogs": (0.9 * dog + rare) / total, "dog": dog / total, "telescope": rare / total}
    )


@pytest.mark.usefixtures("catalogue")
def test_only_allowed_items_answer() -> None:
    wanted = Item.objects.get(item_id="other").pk
    assert search_words("desk lamp", allowed=np.array([wanted])).items.tolist() == [wanted]
    assert search_words("desk lamp", allowed=np.array([], dtype=np.int64)).items.size == 0
    assert search_words("desk lamp", limit=1).items.size == 1


@pytest.mark.usefixtures("catalogue")
def test_items_with_a_phrase_have_its_words_in_sequence() -> None:
    def names(text: str, *, inflected: bool = False) -> set[str]:
        found = items_with(text, inflected=inflected).tolist()
        return {item.item_id for item in Item.objects.filter(pk__in=found)}

    assert names("running on the beach") == {"dogs"}
    assert names("beach running") == set()
    assert names("dog") == {"dog"}
    assert names("dog", inflected=True) == {"dog", "dogs"}
    assert names("runs dog", inflected=True) == {"dog", "dogs"}
    assert names("QX 1042") == names("qx1042") == {"lamp", "note"}
    assert names("京タワ") == {"tower"}
    assert names("pets wet") == set()  # two tags


@pytest.mark.usefixtures("catalogue")
def test_corrections_say_what_a_word_was_taken_for() -> None:
    assert search_words("telescpoe mountian dog").corrections == {
        "telescpoe": ("telescope",),
        "mountian": ("mountain",),
    }


@pytest.mark.usefixtures("catalogue")
@pytest.mark.parametrize(
    ("query", "text", "marked"),
    [
        ("dog", "Dogs and a dog’s bone", ["Dogs", "dog"]),
        ("qx1042", "Not QX-1043 but QX-1042 or Qx 1042", ["QX-1042", "Qx 1042"]),
        ("東京タワー", "夜の東京タワーへ", ["東京タワー"]),
        ("teles", "a Télescope", ["Télescope"]),
        ("nothing here", "a dog", []),
    ],
)
def test_what_matched_is_highlighted(query: str, text: str, marked: list[str]) -> None:
    spans = highlight(text, search_words(query).patterns)
    assert [text[start:end] for start, end in spans] == marked


def test_a_common_word_is_looked_up_once_a_while(
    make_item: MakeItem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "COMMON", 3)
    for number in range(6):
        make_item(item_id=f"red-{number}", caption=f"red thing{number}")
    with CaptureQueriesContext(connection) as first:
        found = search_words("red thing2").found
    assert [(word.common, round(word.frequency)) for word in found] == [(True, 6), (False, 1)]
    with CaptureQueriesContext(connection) as again:
        assert ids("red thing2")[0] == "red-2"
    assert len(again) < len(first)


def test_of_common_words_what_bears_the_name_is_looked_at(
    make_item: MakeItem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "COMMON", 3)
    monkeypatch.setattr(searching, "OF_COMMON", 4)
    for number in range(12):
        make_item(item_id=f"apple-{number}", caption=f"the red apple {number}")
    make_item(item_id="named", title="red apple", caption="fruit")
    found = search_words("red apple")
    assert ids("red apple")[0] == "named"
    assert (found.items.size, found.complete) == (5, False)
