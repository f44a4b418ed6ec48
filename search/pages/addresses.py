"""The query that a page's address spells: translated to a SearchQuery, and back to addresses."""

from __future__ import annotations

import dataclasses
from typing import Any, Final
from urllib.parse import urlencode

from django.http import QueryDict
from django.urls import reverse

from search.answer.query import ANY, Filters, QueryError, SearchQuery
from search.answer.syntax import ask
from search.pages import query_pictures

PAGE_SIZE: Final = 24


@dataclasses.dataclass(frozen=True, kw_only=True)
class PageQuery:
    """What stands behind the `?` of the search page."""

    text: str = ""
    picture: str = ""
    """Token of a kept query picture."""
    like: str = ""
    """Item id whose neighbours are wanted."""
    modality: str = ANY
    categories: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    offset: int = 0
    everything: bool = False
    """Rank all items, relevant or not; browse them, where nothing is asked and nothing filtered."""

    @classmethod
    def from_address(cls, params: QueryDict) -> PageQuery:
        """Read the parameters. Raises QueryError for what no query can hold."""
        for field, values in params.lists():
            if any("\x00" in value for value in values):
                raise QueryError(field, "Null characters are not allowed.")
        offset = params.get("offset", "")
        if offset and not (offset.isascii() and offset.isdigit() and len(offset) < 10):
            raise QueryError("offset", f"The offset {offset!r} is not a whole number from 0.")
        return cls(
            text=params.get("q", "").strip(),
            picture=params.get("picture", ""),
            like=params.get("like", ""),
            modality=params.get("modality") or ANY,
            categories=tuple(dict.fromkeys(filter(None, params.getlist("category")))),
            tags=tuple(dict.fromkeys(filter(None, params.getlist("tag")))),
            offset=int(offset or 0),
            everything=bool(params.get("all")),
        )

    @property
    def searches(self) -> bool:
        """Whether anything is asked; filters alone browse."""
        return bool(self.text or self.picture or self.like)

    @property
    def browses(self) -> bool:
        """Whether a list of items is wanted, newest first."""
        return not self.searches and bool(self.filtered or self.everything or self.offset)

    @property
    def filtered(self) -> bool:
        return bool(self.categories or self.tags)

    def to_search_query(self) -> SearchQuery:
        """The same question to the search service. Raises QueryError, PictureGone."""
        return ask(
            self.text,
            image=query_pictures.find(self.picture) if self.picture else None,
            like=self.like,
            top_n=PAGE_SIZE,
            offset=self.offset,
            modality=self.modality,
            filters=Filters(categories=self.categories, tags=self.tags),
            all=self.everything,
            facets=True,
        )

    def address(self, **changes: Any) -> str:
        """Address of this query with some fields changed; it starts at the first page again."""
        query = dataclasses.replace(self, **{"offset": 0, **changes})
        params: list[tuple[str, str]] = [
            ("q", query.text),
            ("picture", query.picture),
            ("like", query.like),
            ("modality", "" if query.modality == ANY else query.modality),
            *(("category", category) for category in query.categories),
            *(("tag", tag) for tag in query.tags),
            ("all", "1" if query.everything and not (query.browses and query.filtered) else ""),
            ("offset", str(query.offset or "")),
        ]
        given = [(key, value) for key, value in params if value]
        return reverse("search") + (f"?{urlencode(given)}" if given else "")


def toggled(values: tuple[str, ...], value: str) -> tuple[str, ...]:
    """The values with `value` taken off or put on."""
    if value in values:
        return tuple(other for other in values if other != value)
    return (*values, value)
