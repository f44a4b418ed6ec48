from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.words.tokens import chunks_of, terms_and_codes


@pytest.mark.parametrize(
    ("text", "terms", "codes"),
    [
        ("A red Apple", ["a", "red", "apple"], []),
        ("QX-1042", ["qx", "1042"], ["qx1042"]),
        ("qx1042", ["qx", "1042"], ["qx1042"]),
        ("QX 1042", ["qx", "1042"], []),
        ("dog's, don't, l’eau", ["dog", "don", "l", "eau"], ["dogs", "dont", "leau"]),
        ("3.5 and 1,000", ["3", "5", "and", "1", "000"], []),
        ("555-1234", ["555", "1234"], ["5551234"]),
        ("Straße, ŁÓDŹ, Crème brûlée", ["strasse", "lodz", "creme", "brulee"], []),
        ("ＱＸ１０４２ ﬁn ①", ["qx", "1042", "fin", "1"], ["qx1042"]),
        ("東京タワー", ["東京", "京タ", "タワ", "ワー", "ー"], []),
        ("ﾊﾟﾝ", ["パン", "ン"], []),
        ("학교", ["학교", "교"], []),
        ("\u1112\u1161\u11a8\u1100\u116d", ["학교", "교"], []),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"], []),
        ("👍🏽 👩‍🚀 🇩🇪❤️", ["👍", "👩", "🚀", "🇩🇪", "❤"], []),
        ("٣ cats", ["3", "cats"], []),
        ('"NEAR(" AND *', ["near", "and"], []),
        ("!?… \x00", [], []),
        (
            "550e8400-e29b-41d4-a716-446655440000",
            ["550e8400", "e29b", "41d4", "a716", "446655440000"],
            ["550e8400e29b41d4a716446655440000"],
        ),
    ],
)
def test_text_becomes_terms_and_codes(text: str, terms: list[str], codes: list[str]) -> None:
    assert terms_and_codes(text) == (terms, codes)


@given(st.text(max_size=60))
def test_terms_are_bare_and_lie_in_the_text(text: str) -> None:
    terms, codes = terms_and_codes(text)
    chunks = list(chunks_of(text))
    assert [term.text for _, chunk in chunks for term in chunk.terms] == terms
    assert [chunk.code for _, chunk in chunks if chunk.code] == codes
    for at, chunk in chunks:
        for term in chunk.terms:
            assert 0 <= at + term.start < at + term.end <= len(text)
    for each in [*terms, *codes]:
        assert each
        assert not set(each) & set(" \"'*()|¶\x00")
        assert len(each.split()) == 1


def test_a_long_word_counts_by_its_first_letters() -> None:
    assert terms_and_codes("x" * 20_000) == (["x" * 64], [])
