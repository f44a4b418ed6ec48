"""The one query value that page, API and terminal translate into."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Final

from PIL.Image import Image

from embeddings.encoders.base import Modality
from embeddings.parts import PARTS

MAX_TOP_N: Final = 1000
MAX_OFFSET: Final = 10_000
MAX_TEXT_LENGTH: Final = 2_000
"""Characters; a CLIP reads about 77 words' worth at most."""
ANY: Final = "any"


class QueryError(ValueError):
    """A query that cannot be answered; `field` names the part at fault."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchQuery:
    """Words, a picture, an item to resemble, or several of them; and which items may answer.

    Raises QueryError on construction.
    """

    text: str = ""
    image: Image | None = None
    like: str = ""
    """The `item_id` of an item to resemble; that item is left out of the answer."""
    top_n: int = 5
    offset: int = 0
    modality: str = ANY
    """Which vectors may match: `any`, `image` or `text`."""
    category: str = ""
    tags: tuple[str, ...] = ()
    """All of them must be on the item."""
    facets: bool = False
    """Count categories and tags over the best matches."""

    def __post_init__(self) -> None:
        if not self.text.strip() and self.image is None and not self.like:
            raise QueryError("text", "Say what to look for: words, a picture, or both.")
        if len(self.text) > MAX_TEXT_LENGTH:
            raise QueryError("text", f"At most {MAX_TEXT_LENGTH} characters, not {len(self.text)}.")
        for field in ("text", "like", "category"):
            _check_characters(field, getattr(self, field))
        for tag in self.tags:
            _check_characters("tags", tag)
        if not 1 <= self.top_n <= MAX_TOP_N:
            raise QueryError("top_n", f"{self.top_n} is not from 1 to {MAX_TOP_N}.")
        if not 0 <= self.offset <= MAX_OFFSET:
            raise QueryError("offset", f"{self.offset} is not from 0 to {MAX_OFFSET}.")
        if self.modality not in (known := (ANY, *PARTS)):
            raise QueryError("modality", f"{self.modality!r} is none of {', '.join(known)}.")

    def modalities(self, covered: Iterable[Modality]) -> tuple[Modality, ...]:
        """Those of a space's modalities whose vectors may match."""
        return tuple(each for each in covered if self.modality in (ANY, each))


def _check_characters(field: str, value: str) -> None:
    if "\x00" in value:
        raise QueryError(field, "Null characters are not allowed.")
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise QueryError(field, "The text is not valid Unicode.") from exc
