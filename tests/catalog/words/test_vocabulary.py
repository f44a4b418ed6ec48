from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from catalog.models import Word
from catalog.words.vocabulary import Vocabulary


def distance(one: str, other: str) -> int:
    """The Damerau-Levenshtein distance by its textbook recurrence, adjacent letters exchanged."""
    last_row: dict[str, int] = {}
    limit = len(one) + len(other)
    table = {(-1, -1): limit}
    for i in range(len(one) + 1):
        table[i, -1], table[i, 0] = limit, i
    for j in range(len(other) + 1):
        table[-1, j], table[0, j] = limit, j
    for i, letter in enumerate(one, 1):
        last_column = 0
        for j, wanted in enumerate(other, 1):
            row, column = last_row.get(wanted, 0), last_column
            cost = letter != wanted
            if not cost:
                last_column = j
            table[i, j] = min(
                table[i - 1, j - 1] + cost,
                table[i, j - 1] + 1,
                table[i - 1, j] + 1,
                table[row - 1, column - 1] + (i - row - 1) + 1 + (j - column - 1),
            )
        last_row[letter] = i
    return table[len(one), len(other)]


words = st.text(alphabet="abcdeéя", min_size=3, max_size=10)


@pytest.mark.django_db
@given(st.lists(words, min_size=1, max_size=40, unique=True), words, st.sampled_from([1, 2]))
@example(["telescope", "stereoscope"], "telescpoe", 1)
def test_words_within_some_edits_are_those_of_the_plain_recurrence(
    known: list[str], word: str, edits: int
) -> None:
    Word.objects.all().delete()
    Word.objects.bulk_create(Word(term=term, stem=term) for term in known)
    vocabulary = Vocabulary()
    vocabulary.catch_up()
    assert sorted(vocabulary.within(word, edits)) == sorted(
        (term, apart) for term in known if 0 < (apart := distance(word, term)) <= edits
    )


@pytest.mark.django_db
def test_words_written_later_are_learnt() -> None:
    vocabulary = Vocabulary()
    vocabulary.catch_up()
    assert vocabulary.within("aple", 1) == []
    Word.objects.create(term="apple", stem="appl")
    vocabulary.catch_up()
    Word.objects.create(term="maple", stem="mapl")
    vocabulary.catch_up()
    assert vocabulary.within("aple", 1) == [("apple", 1), ("maple", 1)]
