from __future__ import annotations

import base64
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from catalog.ingest.records import (
    MAX_TAGS,
    InvalidField,
    ItemRecord,
    OutcomeKind,
    clean,
    content_id,
    decode_base64,
    path_id,
    rejected,
    split_tags,
)
from catalog.models import Item


def refusal(record: ItemRecord) -> tuple[str, str]:
    with pytest.raises(InvalidField) as error:
        clean(record)
    return error.value.field, error.value.reason


def test_clean_trims_and_keeps_what_was_not_given() -> None:
    record = ItemRecord(
        item_id=" a1 ", title="  ", caption=" two  words\n", tags=(" red ", "", "blue", "red")
    )
    assert clean(record) == ItemRecord(
        item_id="a1", title="", caption="two  words", tags=("red", "blue"), category=None
    )


def test_clean_makes_distinct_ids() -> None:
    ids = {clean(ItemRecord(caption="x")).item_id for _ in range(100)}
    assert len(ids) == 100
    assert all(item_id and item_id.startswith("item_") for item_id in ids)


@pytest.mark.parametrize(
    "caption",
    ["🍎🍏 👩‍👩‍👧‍👦", "שלום עולם", "مرحبا \u202eabc", "line\none\ttab", "ﷺ" * 20_000, "e\u0301"],
)
def test_clean_accepts_any_text(caption: str) -> None:
    assert clean(ItemRecord(caption=caption)).caption == caption


@pytest.mark.parametrize(
    ("record", "field", "reason"),
    [
        (
            ItemRecord(caption="a\x00b"),
            "caption",
            "Character 2 of the caption is a null byte: remove it.",
        ),
        (
            ItemRecord(title="ab\ud800"),
            "title",
            "Character 3 of the title cannot be read as text: save it as UTF-8.",
        ),
        (
            ItemRecord(tags=("ok", "n\udcffo")),
            "tags",
            "Character 2 of a tag cannot be read as text: save it as UTF-8.",
        ),
        (
            ItemRecord(title="x" * 301),
            "title",
            "The title has 301 characters; 300 is the limit. Shorten it.",
        ),
        (
            ItemRecord(category="x" * 201),
            "category",
            "The category has 201 characters; 200 is the limit. Shorten it.",
        ),
        (
            ItemRecord(tags=("x" * 101,)),
            "tags",
            "A tag has 101 characters; 100 is the limit. Shorten it.",
        ),
        (
            ItemRecord(tags=tuple(map(str, range(MAX_TAGS + 1)))),
            "tags",
            "There are 201 tags; 200 is the limit.",
        ),
        (
            ItemRecord(item_id="x" * 201),
            "item_id",
            "The item id has 201 characters; 200 is the limit. Shorten it.",
        ),
    ],
)
def test_clean_names_the_field_and_the_mend(record: ItemRecord, field: str, reason: str) -> None:
    assert refusal(record) == (field, reason)


def test_clean_refuses_a_caption_over_the_limit(settings: Settings) -> None:
    field, reason = refusal(ItemRecord(caption="x" * 100_000))
    assert field == "caption"
    assert reason == "The caption has 100,000 characters; 20,000 is the limit. Shorten it."
    settings.MMSEARCH_MAX_CAPTION_LENGTH = 3
    assert clean(ItemRecord(caption=" abc ")).caption == "abc"
    assert refusal(ItemRecord(caption="abcd"))[0] == "caption"


@pytest.mark.parametrize(
    "item_id", ["a/b", "a\\b", "a?b", "a#b", "a%b", "a\nb", "a\x7fb", ".", "..", "a\x01"]
)
def test_clean_refuses_ids_that_break_addresses(item_id: str) -> None:
    field, reason = refusal(ItemRecord(item_id=item_id))
    assert field == "item_id"
    assert repr(item_id) in reason


@pytest.mark.parametrize("item_id", ["a", "...", "a b", "IMG_1.jpg", "größe:é", "日本", "1f600"])
def test_clean_accepts_ids_that_the_admin_accepts(item_id: str) -> None:
    assert clean(ItemRecord(item_id=item_id)).item_id == item_id
    Item._meta.get_field("item_id").clean(item_id, None)


def test_split_tags_drops_blank_ones() -> None:
    assert split_tags(" cat, ,pet ,, animal") == ("cat", "pet", "animal")
    assert split_tags(" , ") == ()


def test_content_id_depends_on_every_part_and_its_place() -> None:
    ids = {content_id("a", "b"), content_id("ab", ""), content_id("", "ab"), content_id("b", "a")}
    assert len(ids) == 4
    assert content_id("a", "b") == content_id("a", "b")


@pytest.mark.parametrize(
    ("path", "item_id"),
    [
        ("tabby.jpg", "tabby.jpg"),
        ("cats/tabby.jpg", "cats:tabby.jpg"),
        ("cats/my tabby 2.jpg", "cats:my tabby 2.jpg"),
    ],
)
def test_path_id_reads_like_the_path(path: str, item_id: str) -> None:
    assert path_id(path) == item_id


def test_path_id_is_valid_and_distinct_for_awkward_paths() -> None:
    paths = [
        "a/b",
        "a:b",
        "a?b",
        "a#b",
        "a_b",
        "100%",
        " a/b",
        "x" * 250,
        "x" * 251,
        "a/ b",
        "a\nb",
    ]
    ids = [path_id(path) for path in paths]
    assert len(set(ids)) == len(paths)
    assert [clean(ItemRecord(item_id=item_id)).item_id for item_id in ids] == ids


@given(st.lists(st.text(st.sampled_from(string.ascii_letters + "/:?#% é"), min_size=1), min_size=2))
def test_path_id_never_joins_two_paths(paths: list[str]) -> None:
    assert len({path_id(path) for path in paths}) == len(set(paths))


def test_decode_base64_reads_plain_and_data_urls() -> None:
    text = base64.b64encode(b"picture").decode()
    assert decode_base64(text) == b"picture"
    assert decode_base64(f"data:image/png;base64,{text[:4]}\n{text[4:]}") == b"picture"


def test_decode_base64_refuses_what_is_none_and_what_is_too_large(settings: Settings) -> None:
    with pytest.raises(InvalidField, match=r"^The picture is not valid base64: "):
        decode_base64("not base64!")
    settings.MMSEARCH_MAX_UPLOAD_BYTES = 2**20
    with pytest.raises(InvalidField, match=r"^The picture is larger than 1 MiB, the limit\.$"):
        decode_base64("A" * (2**20 * 4 // 3 + 8))


def test_rejected_can_always_be_written_down() -> None:
    outcome = rejected("bad \udcff", line=3, item_id="i\ud800" * 300, field="caption")
    assert outcome.kind is OutcomeKind.REJECTED
    assert (outcome.reason, outcome.line, outcome.field) == ("bad �", 3, "caption")
    assert outcome.item_id == "i�" * 100
