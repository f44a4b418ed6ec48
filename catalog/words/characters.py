"""Which characters make up words, and how they are folded: case, accents and width go.

Text is read in clusters: a character with the marks that belong to it, so that composed and
decomposed text are the same words.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable
from typing import Final

_IGNORED: Final = "\u00ad\u200b-\u200d\u2060\ufeff"
"""Soft hyphens, joiners and the like: they belong to a word and mean nothing."""
_COMPOSED: Final = "\u1160-\u11ff\ua8e0-\ua8ff\ud7b0-\ud7ff\uff9e\uff9f"
"""Vowels and finals of Hangul, and half-width voice marks: they compose with what is before."""
_DROPPED: Final = re.compile(
    f"[{_IGNORED}\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u064b-\u065f"
    "\u0670\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f]+"
)
"""Marks that people leave out when they type; those of Indic scripts and Thai are letters."""
_PLAIN: Final = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "æ": "ae", "œ": "oe", "þ": "th", "ı": "i", "ħ": "h"}
)
"""Letters that Unicode does not take apart and keyboards do not have."""
_UNSPACED: Final = re.compile(
    "[\u0e00-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Scripts written without spaces between words, or (Korean) with what belongs to them attached."""


@functools.cache
def marks() -> str:
    """The inside of a character class: what belongs to the character before it."""
    return _ranges(lambda char: unicodedata.category(char)[0] == "M") + _IGNORED + _COMPOSED


@functools.cache
def symbols() -> str:
    """The inside of a character class: emoji and other pictures, each a word of its own."""
    return _ranges(lambda char: unicodedata.category(char) == "So")


def _ranges(belongs: Callable[[str], bool]) -> str:
    """Code points as ranges, up to the last plane that holds any such character."""
    parts: list[str] = []
    start = -1
    for code in [*range(0x80, 0x20000), 0xE0100, 0xE01F0]:
        inside = code < 0xE01F0 and belongs(chr(code))
        if inside and start < 0:
            start = code
        elif not inside and start >= 0:
            parts.append(f"{re.escape(chr(start))}-{re.escape(chr(code - 1))}")
            start = -1
    return "".join(parts)


@functools.cache
def _clusters() -> re.Pattern[str]:
    return re.compile(f".[{marks()}]*", re.DOTALL)


def fold(text: str) -> tuple[str, list[int]]:
    """The folded text, and for each of its characters the index of the cluster it came from."""
    if text.isascii():
        return text.lower(), list(range(len(text)))
    folded: list[str] = []
    origins: list[int] = []
    for match in _clusters().finditer(text):
        cluster = _fold_cluster(match.group())
        folded.append(cluster)
        origins.extend([match.start()] * len(cluster))
    return "".join(folded), origins


@functools.lru_cache(maxsize=8192)
def _fold_cluster(cluster: str) -> str:
    # Twice, for folding case can bring compatibility characters and the other way round.
    once = unicodedata.normalize("NFKC", cluster).casefold()
    letters = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", once).casefold())
    plain = _DROPPED.sub("", letters).translate(_PLAIN)
    plain = unicodedata.normalize("NFC", plain)
    return "".join(map(_digit, plain)) if not plain.isascii() else plain


def _digit(char: str) -> str:
    value = unicodedata.decimal(char, None)
    return char if value is None else str(value)


def is_unspaced(char: str) -> bool:
    """Whether words of this character's script are not told apart by spaces."""
    return char > "\u0dff" and _UNSPACED.match(char) is not None
