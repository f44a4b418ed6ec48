"""Finding items by the words in their title, caption, tags, category, id and file name."""

from __future__ import annotations
