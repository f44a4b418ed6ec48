"""Text into terms, the same for what is stored, what is asked and what is highlighted.

A *chunk* is what is written in one piece: `QX-1042`, `don't`, `mp3`, `東京タワー`. Its *terms* are
its runs of letters and of digits; scripts without spaces give overlapping pairs. Its *code* is the
chunk without what is between: `qx1042`, so that a code is found however it is written.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterator
from itertools import groupby, pairwise
from typing import Final, TypeAlias

from catalog.words.characters import fold, is_unspaced, marks, symbols

MAX_TERM: Final = 64
"""Characters of a term that count."""
MAX_PARTS: Final = 8
"""Runs of a chunk that become terms; a chunk of more (a UUID) is cut at its hyphens alone."""
_JOINERS: Final = "-_./'’‐‑‒–－＿．＇"
_Piece: TypeAlias = tuple[str, int]
"""A part of a folded chunk, and where it starts."""
_BETWEEN: Final = re.compile(r"[^\W_]+")
_ASCII_RUNS: Final = re.compile(r"[0-9]+|[a-z]+")
_DECIMAL: Final = re.compile(r"[\d.,/]+")
_POSSESSIVE: Final = frozenset({"s", "t"})
"""What is left behind an apostrophe in English: `dog's`, `don't`."""


@dataclasses.dataclass(frozen=True, slots=True)
class Term:
    """A term and where its chunk's text holds it."""

    text: str
    start: int
    end: int


@dataclasses.dataclass(frozen=True, slots=True)
class Chunk:
    """What a piece of text is found by."""

    terms: tuple[Term, ...]
    code: str = ""
    """Empty where the chunk is one term."""
    unspaced: bool = False
    """Its terms overlap: the last is the beginning of no pair."""


_ASCII_CHUNKS: Final = re.compile(r"[A-Za-z0-9]+(?:[-_./'][A-Za-z0-9]+)*")


@functools.cache
def _chunks() -> re.Pattern[str]:
    letter = rf"[^\W_][{marks()}]*"
    return re.compile(
        rf"(?:{letter})+(?:[{_JOINERS}](?:{letter})+)*"
        rf"|[\U0001f1e6-\U0001f1ff]{{2}}|[{symbols()}]"
    )


@functools.cache
def _runs() -> re.Pattern[str]:
    return re.compile(rf"\d+|(?:[^\W\d_][{marks()}]*)+")


def chunks_of(text: str) -> Iterator[tuple[int, Chunk]]:
    """The chunks of a text, each with its position."""
    for match in _pattern(text).finditer(text):
        yield match.start(), analyse(match.group())


def terms_and_codes(text: str) -> tuple[list[str], list[str]]:
    """The terms of a text in their order, and its codes."""
    if not text:
        return [], []
    ascii_only = text.isascii()
    terms: list[str] = []
    codes: list[str] = []
    for written in _ASCII_CHUNKS.findall(text.lower()) if ascii_only else _chunks().findall(text):
        if ascii_only and written.isalpha():  # as most are
            terms.append(written[:MAX_TERM])
            continue
        folded = written if ascii_only else fold(written)[0]
        runs, pieces = _cut(folded)
        terms += [piece[:MAX_TERM] for piece, _ in pieces]
        if code := _code(folded, runs):
            codes.append(code)
    return terms, codes


def _pattern(text: str) -> re.Pattern[str]:
    return _ASCII_CHUNKS if text.isascii() else _chunks()


def analyse(written: str) -> Chunk:
    """What one chunk is found by."""
    if written.isascii() and written.isalpha():  # as most are
        return Chunk((Term(written.lower()[:MAX_TERM], 0, len(written)),))
    folded, origins = fold(written)
    runs, pieces = _cut(folded)
    ends = _ends(origins, len(written))
    terms = tuple(
        Term(text[:MAX_TERM], origins[start], ends[min(start + len(text), len(ends)) - 1])
        for text, start in pieces
    )
    return Chunk(terms, _code(folded, runs), unspaced=any(is_unspaced(text[0]) for text, _ in runs))


def _ends(origins: list[int], length: int) -> list[int]:
    """For each character of a folded chunk, where the cluster that it came from ends."""
    ends = [length] * len(origins)
    for at in range(len(origins) - 2, -1, -1):
        ends[at] = origins[at + 1] if origins[at + 1] > origins[at] else ends[at + 1]
    return ends


def _cut(folded: str) -> tuple[list[_Piece], list[_Piece]]:
    """The runs of a folded chunk, and the terms that they make."""
    if folded.isascii():
        runs = [(match.group(), match.start()) for match in _ASCII_RUNS.finditer(folded)]
        unspaced = False
    else:
        runs = [(match.group(), match.start()) for match in _runs().finditer(folded)]
        unspaced = any(is_unspaced(char) for char in folded)
    if not runs and not folded.isascii():  # an emoji
        runs = [("".join(folded.split()), 0)]
    if len(runs) == 1 and not unspaced:
        return runs, runs
    if unspaced:
        return runs, [piece for run in runs for piece in _pairs(*run)]
    if len(runs) > MAX_PARTS:
        return runs, [(match.group(), match.start()) for match in _BETWEEN.finditer(folded)]
    return runs, [
        (text, start)
        for text, start in runs
        if not (text in _POSSESSIVE and start and folded[start - 1] in "'’")
    ]


def _pairs(run: str, start: int) -> Iterator[_Piece]:
    """The overlapping pairs of characters where a script has no spaces, then the last one."""
    for unspaced, group in groupby(enumerate(run, start), lambda entry: is_unspaced(entry[1])):
        piece = list(group)
        at = piece[0][0]
        text = "".join(char for _, char in piece)
        if not unspaced:
            yield text, at
            continue
        for offset, pair in enumerate(pairwise(text)):
            yield "".join(pair), at + offset
        yield text[-1], piece[-1][0]


def _code(folded: str, runs: list[_Piece]) -> str:
    if len(runs) < 2 or _DECIMAL.fullmatch(folded):
        return ""
    if not folded.isascii() and any(map(is_unspaced, folded)):
        return ""
    return "".join(text for text, _ in runs)[:MAX_TERM]
