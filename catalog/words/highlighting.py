"""Where a text has what was looked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from catalog.words.full_text import Pattern
from catalog.words.tokens import chunks_of


def highlight(text: str, patterns: Iterable[Pattern]) -> tuple[tuple[int, int], ...]:
    """(start, end) of the parts of `text` that match, in order, never overlapping."""
    terms: list[str] = []
    places: list[tuple[int, int]] = []
    spans: set[tuple[int, int]] = set()
    wanted: dict[str, list[Pattern]] = defaultdict(list)
    begun: list[Pattern] = []
    for pattern in patterns:
        if pattern.prefix and len(pattern.terms) == 1:
            begun.append(pattern)
        else:
            wanted[pattern.terms[0]].append(pattern)
    for at, chunk in chunks_of(text):
        for term in chunk.terms:
            terms.append(term.text)
            places.append((at + term.start, at + term.end))
        if chunk.code in wanted:
            spans.add((at, at + chunk.terms[-1].end))
    for first, written in enumerate(terms):
        for pattern in wanted.get(written, ()):
            end = first + len(pattern.terms)
            if _matches(pattern, terms[first:end]):
                spans.add((places[first][0], places[end - 1][1]))
        if any(written.startswith(pattern.terms[0]) for pattern in begun):
            spans.add(places[first])
    return _united(spans)


def _matches(pattern: Pattern, terms: list[str]) -> bool:
    if not pattern.prefix:
        return tuple(terms) == pattern.terms
    *before, last = pattern.terms
    return len(terms) == len(pattern.terms) and terms[:-1] == before and terms[-1].startswith(last)


def _united(spans: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    united: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if united and start < united[-1][1]:
            united[-1] = (united[-1][0], max(end, united[-1][1]))
        else:
            united.append((start, end))
    return tuple(united)
