"""What is typed into the search box, as a query."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embeddings.encoders.base import Modality
from embeddings.states import ItemState
from search.answer.query import Filters, QueryError, SearchQuery, Term
from search.answer.syntax import ask


def day(year: int, month: int = 1, day: int = 1) -> datetime:
    return datetime(year, month, day, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a red  apple", SearchQuery(terms=(Term(text="a red apple"),))),
        (
            "beach -people",
            SearchQuery(
                terms=(Term(text="beach"), Term(text="people", weight=-1)), excluded=("people",)
            ),
        ),
        (
            '-"two words" beach',
            SearchQuery(
                terms=(Term(text="beach"), Term(text="two words", weight=-1)),
                excluded=("two words",),
            ),
        ),
        (
            'a "red apple" on a table',
            SearchQuery(terms=(Term(text="a red apple on a table"),), phrases=("red apple",)),
        ),
        (
            '2*cat 0.5*"hot dog" 3*x',
            SearchQuery(
                terms=(
                    Term(text="cat", weight=2),
                    Term(text="hot dog", weight=0.5),
                    Term(text="x", weight=3),
                )
            ),
        ),
        (
            "red like:sunset-1 -like:b",
            SearchQuery(terms=(Term(text="red"), Term(item="sunset-1"), Term(item="b", weight=-1))),
        ),
        (
            'tag:sea TAG:"deep blue" -tag:land category:a category:"b c" sea',
            SearchQuery(
                terms=(Term(text="sea"),),
                filters=Filters(
                    tags=("sea", "deep blue"), no_tags=("land",), categories=("a", "b c")
                ),
            ),
        ),
        (
            "x has:image has:caption state:Pending after:2023-05 before:2024-12-31",
            SearchQuery(
                terms=(Term(text="x"),),
                filters=Filters(
                    has=(Modality.IMAGE, Modality.TEXT),
                    state=ItemState.PENDING,
                    after=day(2023, 5),
                    before=day(2024, 12, 31),
                ),
            ),
        ),
        ("tag:sea", SearchQuery(filters=Filters(tags=("sea",)))),
    ],
)
def test_the_syntax_is_understood(text: str, expected: SearchQuery) -> None:
    assert ask(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "QX-1042",
        "- -",
        "--x",
        "-!",
        "tag:",
        "has:wings",
        "before:soon",
        "after:2024-13",
        "before:0000",
        "state:gone",
        "http://example.org",
        "a:b",
        "0*cat",
        "99*cat",
        "2*",
        '"',
        '"unfinished',
        '""',
        '" "',
        "-category:x",
        "12:30",
        'it"s',
    ],
)
def test_what_is_no_syntax_is_text(text: str) -> None:
    assert ask(text) == SearchQuery(terms=(Term(text=" ".join(text.split())),))


@pytest.mark.parametrize(
    ("text", "notes"),
    [
        (
            "red before:soon",
            ["before:soon was looked for as words: before: takes a date, like 2024 or 2024-05-31."],
        ),
        (
            "state:gone state:gone",
            ["state:gone was looked for as words: state: takes pending or indexed or failed."],
        ),
        ("red before:2024 has:image state:failed tag:x -before:soon a:b http://x.org", []),
    ],
)
def test_what_was_perhaps_not_meant_as_text_is_noted(text: str, notes: list[str]) -> None:
    assert ask(text).notes == tuple(notes)


def test_beyond_the_most_terms_the_rest_is_text() -> None:
    query = ask("x " + " ".join(f"2*w{n}" for n in range(20)))

    assert query.terms[0].text == "x " + " ".join(f"2*w{n}" for n in range(13, 20))
    assert len(query.terms) == 14


def test_what_is_given_beside_the_text_is_joined() -> None:
    query = ask("tag:b x", like="c", filters=Filters(tags=("a",), after=day(2020)))

    assert query.terms == (Term(text="x"), Term(item="c"))
    assert query.filters == Filters(tags=("a", "b"), after=day(2020))


PARTS = st.sampled_from(
    [
        "-",
        '"',
        "*",
        "2*",
        "tag:",
        "like:",
        "has:image",
        "before:2024",
        "cat",
        " ",
        ":",
        "-é",
        "日本",
    ]
)


@given(st.lists(PARTS | st.text(max_size=4), max_size=30).map("".join))
def test_no_text_is_an_error_but_one_that_asks_for_nothing(text: str) -> None:
    refused = ""
    try:
        ask(text)
    except QueryError as error:
        refused = error.message
    # What no item can hold is refused wherever it comes from, as in every field.
    assert refused.startswith(("Say what to look for", "Null", "The text is not valid Unicode", ""))
    assert bool(refused) <= bool(
        not text.strip() or "\x00" in text or "-" in text or not text.isprintable()
    )
