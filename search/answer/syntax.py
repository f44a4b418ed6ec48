"""What people type into the search box, read as a query. Nothing is an error: the rest is text.

`-word` and `-"two words"` leave out and push down, `"exact words"` must stand as they are,
`2*word` and `2*"two words"` weigh more; `tag:`, `category:` (each also in quotes), `-tag:`,
`like:ID`, `-like:ID`, `has:image`, `has:text`, `state:pending`, `before:2024`, `after:2024-05-01`
say which items may answer.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Callable
from string import punctuation
from typing import Any, Final

from django.utils import timezone
from PIL.Image import Image

from embeddings.parts import PARTS
from embeddings.states import ItemState
from search.answer.query import MAX_TERMS, MAX_WEIGHT, Filters, SearchQuery, Term

_PART: Final = re.compile(
    r"""(?<!\S)(?P<minus>-)?
        (?:(?P<weight>\d{1,4}(?:\.\d{1,4})?)\*|(?P<key>[A-Za-z]{2,9}):)?
        (?:"(?P<quoted>[^"]*[^"\s][^"]*)"|(?P<bare>[^\s"]+))(?!\S)""",
    re.VERBOSE,
)
_DATE: Final = re.compile(r"(\d{4})(?:-(\d{1,2}))?(?:-(\d{1,2}))?")


@dataclasses.dataclass
class _Reading:
    """What has been understood so far."""

    text: list[str] = dataclasses.field(default_factory=list)
    terms: list[Term] = dataclasses.field(default_factory=list)
    phrases: list[str] = dataclasses.field(default_factory=list)
    excluded: list[str] = dataclasses.field(default_factory=list)
    filters: Filters = dataclasses.field(default_factory=Filters)
    notes: list[str] = dataclasses.field(default_factory=list)


def ask(
    text: str = "",
    *,
    image: Image | None = None,
    like: str = "",
    terms: tuple[Term, ...] = (),
    filters: Filters = Filters(),  # noqa: B008  frozen
    **options: Any,
) -> SearchQuery:
    """The query that a text of the box means, with whatever was given beside it.

    Raises QueryError.
    """
    reading = _read(text)
    given: list[Term] = []
    if words := " ".join(reading.text):
        given.append(Term(text=words))
    if image is not None:
        given.append(Term(image=image))
    if like:
        given.append(Term(item=like))
    return SearchQuery(
        terms=(*given, *reading.terms, *terms),
        phrases=tuple(dict.fromkeys(reading.phrases)),
        excluded=tuple(dict.fromkeys(reading.excluded)),
        filters=filters & reading.filters,
        notes=tuple(dict.fromkeys(reading.notes)),
        **options,
    )


def _read(text: str) -> _Reading:
    reading = _Reading()
    place = 0
    for part in _PART.finditer(text):
        reading.text += text[place : part.start()].split()
        if not _take(reading, part):
            reading.text += part[0].split()
        place = part.end()
    reading.text += text[place:].split()
    return reading


def _take(reading: _Reading, part: re.Match[str]) -> bool:
    """Understand one part; False where it is plain text."""
    minus, weight, key, quoted, bare = part.group("minus", "weight", "key", "quoted", "bare")
    value = (quoted or bare).strip()
    if key is not None:
        return _take_key(reading, key.lower(), value, minus=bool(minus))
    if minus or weight:
        factor = float(weight or 1)
        if not 0 < factor <= MAX_WEIGHT or len(reading.terms) >= MAX_TERMS - 3:
            return False
        if value[0] == "-" or not value.strip(punctuation):
            return False
        reading.terms.append(Term(text=value, weight=-factor if minus else factor))
        if minus:
            reading.excluded.append(value)
        return True
    if quoted is not None:
        reading.phrases.append(value)
        reading.text += value.split()
        return True
    return False


def _take_key(reading: _Reading, key: str, value: str, *, minus: bool) -> bool:
    if key == "like":
        if len(reading.terms) >= MAX_TERMS - 3:
            return False
        reading.terms.append(Term(item=value, weight=-1 if minus else 1))
        return True
    if minus:
        found = Filters(no_tags=(value,)) if key == "tag" else None
    else:
        found = _KEYS[key](value) if key in _KEYS else None
    if found is None:
        if key in _EXPECTED and not minus:
            said = f"{key}:{value} was looked for as words: {key}: takes {_EXPECTED[key]}."
            reading.notes.append(said)
        return False
    reading.filters &= found
    return True


def _has(value: str) -> Filters | None:
    """By the name of a part, or of its modality."""
    named = value.lower()
    for modality, part in PARTS.items():
        if named in (part.name, modality):
            return Filters(has=(modality,))
    return None


def _state(value: str) -> Filters | None:
    return Filters(state=ItemState(value.lower())) if value.lower() in tuple(ItemState) else None


def _before(value: str) -> Filters | None:
    moment = moment_of(value)
    return None if moment is None else Filters(before=moment)


def _after(value: str) -> Filters | None:
    moment = moment_of(value)
    return None if moment is None else Filters(after=moment)


def moment_of(date: str) -> dt.datetime | None:
    """When a year, month or day begins, in the installation's time zone; None for others."""
    found = _DATE.fullmatch(date)
    if found is None:
        return None
    try:
        year, month, day = (int(part or 1) for part in found.groups())
        begins = dt.datetime(year, month, day)  # noqa: DTZ001
    except ValueError:
        return None
    return timezone.make_aware(begins)


_KEYS: Final[dict[str, Callable[[str], Filters | None]]] = {
    "tag": lambda value: Filters(tags=(value,)),
    "category": lambda value: Filters(categories=(value,)),
    "has": _has,
    "state": _state,
    "before": _before,
    "after": _after,
}
_A_DATE: Final = "a date, like 2024 or 2024-05-31"
_EXPECTED: Final = {
    "has": " or ".join(part.name for part in PARTS.values()),
    "state": " or ".join(ItemState),
    "before": _A_DATE,
    "after": _A_DATE,
}
"""What stands behind the keys that do not take everything."""
