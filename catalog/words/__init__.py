"""Finding items by the words of their title, caption, tags, category, item id and file name."""

from __future__ import annotations

from catalog.words.full_text import Pattern
from catalog.words.highlighting import highlight
from catalog.words.scoring import Kind
from catalog.words.searching import CANDIDATES, WordMatches, items_with, search_words

__all__ = [
    "CANDIDATES",
    "Kind",
    "Pattern",
    "WordMatches",
    "highlight",
    "items_with",
    "search_words",
]
