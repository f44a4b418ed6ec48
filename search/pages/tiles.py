"""What a page of the grid shows: tiles, filters that can be taken on or off, the way on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Final

from django.utils.text import get_text_list

from catalog.models import Item
from embeddings.encoders.base import Modality
from embeddings.parts import PARTS
from search.answer.answering import Hit
from search.answer.facets import Facets
from search.answer.query import MAX_OFFSET
from search.pages.addresses import PAGE_SIZE, PageQuery, toggled

SHOWN_CHOICES: Final = 12
ICON_SIDE: Final = 256
"""Pixels up to which a picture is shown like an icon."""
NAMED_FROM: Final = 0.1
"""Evidence below says too little to be named as what speaks for a hit."""
TOLD_FROM: Final = 0.005
"""Evidence below would be told as nothing."""
MAX_CROP: Final = 1.8
"""Longer shapes are shown whole: a square would cut too much of them."""


@dataclasses.dataclass(frozen=True)
class Tile:
    """One item of the grid; its score and what speaks for it where it was searched for."""

    item: Item
    score: float | None = None
    by: str = ""
    """What speaks for it, in words, the strongest first;"""
    alone: str = ""
    """and the score that each would give by itself."""
    title: str = ""
    """As HTML, what was looked for marked;"""
    marked_caption: str = ""
    """and so the caption."""

    @property
    def caption(self) -> str:
        """The caption, where it says more than the title above it."""
        caption = self.item.caption
        return "" if caption.casefold() == self.item.title.casefold() else caption

    @property
    def fit(self) -> str:
        """How the picture fills its square: an icon has air around it, a photograph covers it."""
        width, height = self.item.width or 0, self.item.height or 0
        if max(width, height) <= ICON_SIDE:
            return "icon"
        return "cover" if max(width, height) <= MAX_CROP * min(width, height) else "whole"


@dataclasses.dataclass(frozen=True)
class Choice:
    """One value of a filter, and the address that takes it on or off."""

    name: str
    address: str
    chosen: bool


@dataclasses.dataclass(frozen=True)
class Shown:
    """One page of a grid."""

    tiles: list[Tile]
    total: int
    first: int
    """Rank of the first tile, from 1."""
    previous_address: str
    next_address: str
    categories: list[Choice]
    tags: list[Choice]
    elapsed_ms: float | None = None
    notes: tuple[str, ...] = ()
    """What to say about how the text was read."""

    @property
    def last(self) -> int:
        return self.first + len(self.tiles) - 1


def shown_page(
    query: PageQuery,
    tiles: list[Tile],
    total: int,
    facets: Facets,
    elapsed_ms: float | None = None,
) -> Shown:
    following = query.offset + PAGE_SIZE
    more = following < total and following <= MAX_OFFSET
    return Shown(
        tiles=tiles,
        total=total,
        first=query.offset + 1,
        previous_address=(
            query.address(offset=max(query.offset - PAGE_SIZE, 0)) if query.offset else ""
        ),
        next_address=query.address(offset=following) if more else "",
        categories=_choices(
            facets.categories,
            query.categories,
            lambda name: query.address(categories=toggled(query.categories, name)),
        ),
        tags=_choices(
            facets.tags, query.tags, lambda name: query.address(tags=toggled(query.tags, name))
        ),
        elapsed_ms=elapsed_ms,
    )


def _choices(
    found: Sequence[tuple[str, int]], chosen: tuple[str, ...], address: Callable[[str], str]
) -> list[Choice]:
    """What is chosen first, then what was found most."""
    others = [name for name, _ in found if name not in chosen][:SHOWN_CHOICES]
    return [
        *(Choice(name, address(name), chosen=True) for name in chosen),
        *(Choice(name, address(name), chosen=False) for name in others),
    ]


def tiles_of(hits: Sequence[Hit]) -> list[Tile]:
    return [
        Tile(
            hit.item,
            hit.score,
            by=_by(hit),
            alone=_alone(hit),
            title=hit.title,
            marked_caption=hit.caption,
        )
        for hit in hits
    ]


def _by(hit: Hit) -> str:
    """The kinds of evidence that say something; at least the strongest."""
    names = [_named(name) for name, value in _strongest_first(hit) if value >= NAMED_FROM]
    return get_text_list(names or [_named(hit.matched)], "and")


def _alone(hit: Hit) -> str:
    return ", ".join(
        f"{_named(name)} alone {value:.2f}"
        for name, value in _strongest_first(hit)
        if value >= TOLD_FROM
    )


def _strongest_first(hit: Hit) -> list[tuple[str, float]]:
    return sorted(hit.evidence.items(), key=lambda entry: -entry[1])


def _named(matched: str) -> str:
    """As people call it: `words`, or the part whose vector it is."""
    return PARTS[Modality(matched)].name if matched in PARTS else matched
