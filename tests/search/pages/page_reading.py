"""Reading pages as a visitor does."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from typing import Protocol
from urllib.parse import unquote


class Answer(Protocol):
    """What the test client gives back."""

    @property
    def content(self) -> bytes: ...


def text_of(response: Answer) -> str:
    return response.content.decode()


def tiles(response: Answer) -> list[str]:
    """Item ids of the grid, in order."""
    links = re.findall(r'<h3><a href="/items/([^"]+)/">', text_of(response))
    return [unquote(html.unescape(link)) for link in links]


def links(response: Answer) -> dict[str, str]:
    """Addresses by the text of their link; of equal texts the first."""
    reader = _LinkReader()
    reader.feed(text_of(response))
    return reader.found


class _LinkReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self._address: str | None = None
        self._text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self._address, self._text = dict(attrs).get("href"), ""

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "a" and self._address is not None:
            self.found.setdefault(" ".join(self._text.split()), self._address)
            self._address = None
