"""The concepts that are drawn: one per emoji, with its label, tags and group."""

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from training.workspace import PACKAGES

EMOJIBASE: Final = PACKAGES / "emojibase-data-17.0.0"
EMOJILIB: Final = PACKAGES / "emojilib-4.0.3" / "dist" / "emoji-en-US.json"
OPENMOJI: Final = PACKAGES / "openmoji-17.0.0" / "data" / "openmoji.json"


@dataclass(frozen=True)
class Concept:
    """One thing that several sets draw.

    ``code`` is the lower-case code point sequence without variation selectors,
    ``tags`` are emojibase's, ``more_tags`` those that only other sources give.
    """

    code: str
    label: str
    tags: tuple[str, ...]
    more_tags: tuple[str, ...]
    group: str
    in_unicode: bool


def code_of(hexcode: str) -> str:
    """Code point sequence as sets spell it, lower-case, without ``fe0f`` and padding."""
    points = hexcode.lower().split("-")
    return "-".join(point.lstrip("0") or "0" for point in points if point != "fe0f")


def words_of(name: str) -> str:
    """A shortcode or slug as words: ``red_apple`` becomes ``red apple``."""
    return re.sub(r"[_\-]+", " ", name).strip().lower()


def _code_of_emoji(emoji: str) -> str:
    return code_of("-".join(f"{ord(character):x}" for character in emoji))


def _shortcodes() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in ("emojibase", "github", "iamcal", "joypixels"):
        path = EMOJIBASE / "en" / "shortcodes" / f"{name}.json"
        for hexcode, codes in json.loads(path.read_text("utf-8")).items():
            listed = [codes] if isinstance(codes, str) else codes
            found.setdefault(code_of(hexcode), []).extend(words_of(code) for code in listed)
    return found


def _is_word(text: str) -> bool:
    return len(text) > 1 and re.fullmatch(r"[a-z0-9][a-z0-9 '’.&-]*", text) is not None


def _distinct(words: list[str], known: set[str]) -> tuple[str, ...]:
    kept: list[str] = []
    for word in words:
        if word not in known and _is_word(word):
            known.add(word)
            kept.append(word)
    return tuple(kept)


def _split(text: str) -> list[str]:
    return [part.strip().lower() for part in text.split(",") if part.strip()]


@cache
def load_concepts() -> tuple[Concept, ...]:
    """Every emoji without a skin tone, then OpenMoji's own additions."""
    groups = json.loads((EMOJIBASE / "meta" / "groups.json").read_text("utf-8"))["groups"]
    messages = json.loads((EMOJIBASE / "en" / "messages.json").read_text("utf-8"))["groups"]
    names = {entry["key"]: entry["message"] for entry in messages}
    emojilib = {
        _code_of_emoji(emoji): [words_of(word) for word in words]
        for emoji, words in json.loads(EMOJILIB.read_text("utf-8")).items()
    }
    shortcodes = _shortcodes()
    openmoji: list[dict[str, Any]] = json.loads(OPENMOJI.read_text("utf-8"))
    openmoji_tags = {
        code_of(entry["hexcode"]): _split(entry["tags"]) + _split(entry["openmoji_tags"])
        for entry in openmoji
    }
    concepts: list[Concept] = []
    for entry in json.loads((EMOJIBASE / "en" / "data.json").read_text("utf-8")):
        if "group" not in entry:
            continue
        code = code_of(entry["hexcode"])
        label = str(entry["label"])
        tags = tuple(entry.get("tags", ()))
        others = emojilib.get(code, []) + shortcodes.get(code, []) + openmoji_tags.get(code, [])
        more = _distinct(others, {label.lower(), *tags})
        group = names[groups[str(entry["group"])]]
        concepts.append(Concept(code, label, tags, more, group, in_unicode=True))
    known = {concept.code for concept in concepts}
    for entry in openmoji:
        code = code_of(entry["hexcode"])
        if entry["group"] == "extras-openmoji" and code not in known:
            concepts.append(
                Concept(
                    code,
                    str(entry["annotation"]),
                    (),
                    _distinct(_split(entry["tags"]) + _split(entry["openmoji_tags"]), set()),
                    "extras",
                    in_unicode=False,
                )
            )
    return tuple(concepts)
