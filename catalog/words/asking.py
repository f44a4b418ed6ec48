"""What a query asks for, word by word, and as what the catalogue has these words."""

from __future__ import annotations

import dataclasses
import enum
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import groupby, islice
from operator import itemgetter
from typing import Final

import numpy as np

from catalog.models import Word
from catalog.words.characters import is_unspaced
from catalog.words.full_text import FullText, Ids, Pattern
from catalog.words.stems import is_word, stem
from catalog.words.tokens import Chunk, chunks_of
from catalog.words.vocabulary import edits_allowed, vocabulary

MAX_WORDS: Final = 32
"""Words of a query that count."""
MIN_PREFIX: Final = 3
"""Letters of an unfinished word that say something."""
FEW: Final = 20
"""A last word that fewer items have is taken for one that is still being typed."""
COMMON: Final = 2_000
"""Items beyond which those that have a word are not all looked at."""
REMEMBERED: Final = 60.0
"""Seconds that a word which was common is taken for common, without another look."""
MOST_REMEMBERED: Final = 2_000
"""Common words of a process, about which more is forgotten than kept."""
MAX_FORMS: Final = 24
MAX_CORRECTIONS: Final = 24
"""Spellings that are tried for one word."""


class Closeness(enum.IntEnum):
    """How what was found resembles what was asked."""

    TYPO = 1
    PREFIX = 2
    FORM = 3
    EXACT = 4


QUALITY: Final = {
    # Below one, so that nothing outranks the word itself; a form is nearly as good.
    (Closeness.EXACT, 0): 1.0,
    (Closeness.FORM, 0): 0.9,
    (Closeness.PREFIX, 0): 0.7,
    (Closeness.TYPO, 1): 0.65,
    (Closeness.TYPO, 2): 0.55,
}


@dataclasses.dataclass(frozen=True, slots=True)
class Variant:
    """One way in which the catalogue may have a word."""

    pattern: Pattern
    closeness: Closeness
    quality: float
    """Share of the word's worth that this counts for."""


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """A word of the query: the patterns that are this very word."""

    text: str
    patterns: tuple[Pattern, ...]
    parts: tuple[str, ...] = ()
    """What to look for where a code is not found as one."""
    unfinished: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """A word of the query, and where."""

    asked: Asked
    variants: tuple[Variant, ...]
    items: Ids
    """Items that have it, ascending; none where it is common."""
    frequency: float
    """How many items have it; of a common one about how many."""

    @property
    def common(self) -> bool:
        """Whether too many items have it to look at them all."""
        return self.frequency > self.items.size


@dataclasses.dataclass(frozen=True)
class Question:
    """A query as words."""

    words: tuple[Asked, ...]
    sequence: tuple[str, ...]
    """The terms in their order, as a field that consists of them has them."""

    @cached_property
    def phrase(self) -> Pattern:
        """The terms as they stand within a longer text."""
        return Pattern(_without_ends(self.sequence))

    @cached_property
    def code(self) -> str:
        """The whole query written in one piece, where that may be a code."""
        joined = "".join(self.sequence)
        return joined if any(map(str.isdigit, joined)) and len(self.sequence) > 1 else ""


def question(text: str) -> Question:
    """Take a query apart; whatever is no word is nothing."""
    sequence: list[str] = []
    words: dict[tuple[Pattern, ...], Asked] = {}
    finished = not text or text[-1].isspace()
    for _, chunk in chunks_of(text[:10_000]):
        sequence.extend(term.text for term in chunk.terms)
        for asked in _asked(chunk):
            words.setdefault(asked.patterns, asked)
        if len(words) >= MAX_WORDS:
            finished = True
            break
    ordered = list(words.values())[:MAX_WORDS]
    if ordered and not finished:
        ordered[-1] = dataclasses.replace(ordered[-1], unfinished=True)
    return Question(tuple(ordered), tuple(sequence))


def _asked(chunk: Chunk) -> list[Asked]:
    terms = tuple(term.text for term in chunk.terms)
    if chunk.code and any(map(str.isdigit, chunk.code)):
        patterns = (Pattern((chunk.code,)), Pattern(terms))
        return [Asked(chunk.code, patterns, parts=terms)]
    return [_plain(term) for term in _without_ends(terms)]


def _plain(term: str) -> Asked:
    # One character of a script without spaces begins a pair wherever it stands.
    return Asked(term, (Pattern((term,), prefix=len(term) == 1 and is_unspaced(term)),))


def _without_ends(terms: Sequence[str]) -> tuple[str, ...]:
    """Without the single characters that end a run of pairs: longer runs have a pair there."""
    return tuple(
        term
        for before, term in zip(("", *terms), terms, strict=False)
        if not (len(term) == 1 and is_unspaced(term) and len(before) == 2 and before[1] == term)
    )


_common: Final[dict[Asked, tuple[float, Found]]] = {}
"""Until when, and what was found of words that many items have: looking again costs as much as all
the rest of a query."""


def forget_common_words() -> None:
    """Look at every word again: the catalogue is another."""
    _common.clear()


def find(asked: Sequence[Asked], index: FullText) -> list[Found]:
    """Look every word up: as it is written and inflected, unfinished, then misspelt."""
    now = time.monotonic()
    known = {word: _remembered(word, now) for word in asked}
    new = [word for word, found in known.items() if found is None]
    looked_up = dict(zip(new, _look_up(new, forms(new), index), strict=True))
    for word, each in looked_up.items():
        if each.common:
            if len(_common) >= MOST_REMEMBERED:
                _common.clear()
            _common[word] = (now + REMEMBERED, each)
    found: list[Found] = []
    for word in asked:
        each = known[word] or looked_up[word]
        if not each.frequency and word.parts:
            parts = [_plain(part) for part in dict.fromkeys(word.parts)]
            found += _look_up(parts, {}, index)
        else:
            found.append(each)
    return found


def _remembered(word: Asked, now: float) -> Found | None:
    until, found = _common.get(word, (0.0, None))
    return found if until > now else None


def _look_up(
    words: Sequence[Asked], forms: Mapping[str, Sequence[str]], index: FullText
) -> list[Found]:
    """Each word, and in its other forms."""
    if not words:
        return []
    variants = [
        [
            *(_variant(pattern, Closeness.EXACT) for pattern in word.patterns),
            *(_variant(Pattern((form,)), Closeness.FORM) for form in forms.get(word.text, ())),
        ]
        for word in words
    ]
    items = index.matching_each(
        [[variant.pattern for variant in its] for its in variants], limit=COMMON + 1
    )
    return [_further(*each, index) for each in zip(words, variants, items, strict=True)]


def _further(word: Asked, variants: Sequence[Variant], items: Ids, index: FullText) -> Found:
    """What few items have is looked for misspelt and unfinished, too."""
    if items.size >= FEW:
        return _found(word, variants, items, index)
    more: list[Variant] = _corrections(word.text, index) if not items.size else []
    whole_code = word.parts and items.size  # QX-10 is another than QX-104
    if word.unfinished and not whole_code and len(word.text) >= MIN_PREFIX:
        more += [
            _variant(dataclasses.replace(pattern, prefix=True), Closeness.PREFIX)
            for pattern in word.patterns
        ]
    if more:
        patterns = [variant.pattern for variant in more]
        items = np.union1d(items, index.matching([patterns], limit=COMMON + 1))
    return _found(word, [*variants, *more], items, index)


def _found(word: Asked, variants: Sequence[Variant], items: Ids, index: FullText) -> Found:
    if items.size <= COMMON:
        return Found(word, tuple(variants), items, float(items.size))
    first, last = index.key_range()  # as densely as the first have it, all may
    share = (last - first + 1) / max(int(items[COMMON - 1]) - first + 1, 1)
    return Found(word, tuple(variants), items[:0], COMMON * max(share, 1.0))


def _variant(pattern: Pattern, closeness: Closeness, edits: int = 0) -> Variant:
    return Variant(pattern, closeness, QUALITY[closeness, edits])


def _corrections(term: str, index: FullText) -> list[Variant]:
    """What a word that nothing has may be meant for: as few edits away as some item has words."""
    if not is_word(term):
        return []
    words = vocabulary()
    words.catch_up()
    near = words.within(term, edits_allowed(term))
    for _, group in groupby(near, key=itemgetter(1)):
        variants = [
            _variant(Pattern((other,)), Closeness.TYPO, edits)
            for other, edits in islice(group, MAX_CORRECTIONS)
        ]
        if index.matching([[variant.pattern for variant in variants]], limit=1).size:
            return variants
    return []


def forms(asked: Sequence[Asked]) -> defaultdict[str, list[str]]:
    """The other words of the catalogue with the stem of each word asked for."""
    stems = {word.text: stem(word.text) for word in asked if is_word(word.text)}
    found: defaultdict[str, list[str]] = defaultdict(list)
    if not stems:
        return found
    known: dict[str, list[str]] = defaultdict(list)
    rows = Word.objects.filter(stem__in=set(stems.values())).order_by("term")
    for term, its_stem in rows.values_list("term", "stem"):
        known[its_stem].append(term)
    for word, its_stem in stems.items():
        found[word] = [term for term in known[its_stem] if term != word][:MAX_FORMS]
    return found
