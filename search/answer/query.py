"""The one query value that page, API and terminal translate into."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable
from typing import Final, TypeVar

from PIL.Image import Image

from embeddings.encoders.base import Modality
from embeddings.models import EmbeddingSpace
from embeddings.parts import PARTS
from embeddings.states import ItemState

MAX_TOP_N: Final = 1000
MAX_OFFSET: Final = 10_000
MAX_TEXT_LENGTH: Final = 2_000
"""Characters; a CLIP reads about 77 words' worth at most."""
MAX_TERMS: Final = 16
"""Each is encoded by itself."""
MAX_WEIGHT: Final = 10.0
ANY: Final = "any"
START: Final = "start"
"""The cursor of the first page."""

T = TypeVar("T")


class QueryError(ValueError):
    """A query that cannot be answered; `field` names the part at fault."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


@dataclasses.dataclass(frozen=True, kw_only=True)
class Term:
    """One thing to look for: words, a picture, or an item to resemble.

    Raises QueryError on construction.
    """

    text: str = ""
    image: Image | None = None
    item: str = ""
    """Its `item_id`; that item is left out of the answer."""
    weight: float = 1.0
    """Its share beside the other terms; below 0, what is like it is pushed down."""

    def __post_init__(self) -> None:
        if (bool(self.text.strip()) + (self.image is not None) + bool(self.item)) != 1:
            raise QueryError("terms", "A term is one of a text, a picture, and an item.")
        # Written so that NaN fails too.
        if not 0 < abs(self.weight) <= MAX_WEIGHT:
            raise QueryError(
                "terms", f"A weight is from -{MAX_WEIGHT:g} to {MAX_WEIGHT:g}, and not 0."
            )
        check_characters("text", self.text)
        check_characters("like", self.item)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Filters:
    """Which items may answer. Raises QueryError on construction."""

    categories: tuple[str, ...] = ()
    """One of them is the item's."""
    tags: tuple[str, ...] = ()
    """All of them are on the item,"""
    any_tags: tuple[str, ...] = ()
    """at least one of these,"""
    no_tags: tuple[str, ...] = ()
    """and none of these."""
    has: tuple[Modality, ...] = ()
    """Parts that the item has: a picture, a caption."""
    after: dt.datetime | None = None
    """Created then or later,"""
    before: dt.datetime | None = None
    """and before then."""
    state: ItemState | None = None

    def __post_init__(self) -> None:
        for field, values in (
            ("category", self.categories),
            ("tags", self.tags),
            ("any_tags", self.any_tags),
            ("no_tags", self.no_tags),
        ):
            for value in values:
                check_characters(field, value)

    def __bool__(self) -> bool:
        return self != Filters()

    def __and__(self, other: Filters) -> Filters:
        """What both allow, but for categories and `any_tags`, where either's values will do."""
        return Filters(
            categories=_joined(self.categories, other.categories),
            tags=_joined(self.tags, other.tags),
            any_tags=_joined(self.any_tags, other.any_tags),
            no_tags=_joined(self.no_tags, other.no_tags),
            has=_joined(self.has, other.has),
            after=max(filter(None, (self.after, other.after)), default=None),
            before=min(filter(None, (self.before, other.before)), default=None),
            state=self.state or other.state,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchQuery:
    """What to look for, which items may answer, and which part of the answer is wanted.

    `syntax.ask` makes one of what people type. Raises QueryError on construction.
    """

    terms: tuple[Term, ...] = ()
    """Without any, the items that the filters allow, newest first."""
    phrases: tuple[str, ...] = ()
    """Words that an item has to hold as they stand here, side by side."""
    excluded: tuple[str, ...] = ()
    """Words or phrases that it must not hold."""
    filters: Filters = Filters()
    top_n: int = 5
    offset: int = 0
    cursor: str = ""
    """START, or what the page before gave: whatever comes and goes, no hit is shown twice and none
    skipped. Pages by `offset` count anew in the hits of their moment."""
    modality: str = ANY
    """Which vectors may match: `any`, or one of the modalities; words count with `any` alone."""
    min_score: float | None = None
    """Least score of a hit, in place of what the application takes for relevant."""
    all: bool = False
    """Rank every item, relevant or not."""
    facets: bool = False
    """Count categories and tags over the hits."""
    notes: tuple[str, ...] = dataclasses.field(default=(), compare=False)
    """What of the text was perhaps not meant as it was read, for people."""

    def __post_init__(self) -> None:
        self._check_question()
        if len(self.terms) > MAX_TERMS:
            raise QueryError("terms", f"At most {MAX_TERMS} terms, not {len(self.terms)}.")
        length = sum(len(term.text) for term in self.terms)
        if length > MAX_TEXT_LENGTH:
            raise QueryError("text", f"At most {MAX_TEXT_LENGTH} characters, not {length}.")
        if not 1 <= self.top_n <= MAX_TOP_N:
            raise QueryError("top_n", f"{self.top_n} is not from 1 to {MAX_TOP_N}.")
        if not 0 <= self.offset <= MAX_OFFSET:
            raise QueryError("offset", f"{self.offset} is not from 0 to {MAX_OFFSET}.")
        if self.cursor and self.offset:
            raise QueryError("offset", "Give an offset or a cursor, not both.")
        if self.modality not in (known := (ANY, *PARTS)):
            raise QueryError("modality", f"{self.modality!r} is none of {', '.join(known)}.")
        if self.min_score is not None and not 0 <= self.min_score <= 1:
            raise QueryError("min_score", f"{self.min_score} is not from 0 to 1.")

    def _check_question(self) -> None:
        if any(term.weight > 0 for term in self.terms):
            return
        if self.terms or self.excluded:
            message = "Say what to look for, not only what to leave out or push down."
            raise QueryError("text", message)
        if not self.filters:
            raise QueryError("text", "Say what to look for: words, a picture, or both.")

    def modalities(self, space: EmbeddingSpace) -> tuple[Modality, ...]:
        """Those of a space whose vectors may match. Raises QueryError where there are none."""
        found = tuple(each for each in space.covers if self.modality in (ANY, each))
        if not found:
            raise QueryError("modality", f"{space} has no vectors of the modality {self.modality}.")
        return found

    @property
    def page(self) -> slice:
        """Places in the ranking that are wanted."""
        return slice(self.offset, self.offset + self.top_n)

    @property
    def asks_words(self) -> bool:
        """Whether words of items count."""
        return self.modality == ANY and bool(self.words)

    @property
    def words(self) -> str:
        """All words looked for, in the order given."""
        return " ".join(term.text for term in self.terms if term.weight > 0 and term.text)


def check_characters(field: str, value: str) -> None:
    """Raise QueryError where no item can hold such a text."""
    if "\x00" in value:
        raise QueryError(field, "Null characters are not allowed.")
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise QueryError(field, "The text is not valid Unicode.") from exc


def _joined(one: Iterable[T], other: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys((*one, *other)))
