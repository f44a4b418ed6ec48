"""Judged queries, one a line as JSON: what is asked, of which kind, and which items answer.

    {"kind": "filtered", "query": "red", "category": ["food & drink"], "relevant": {"1f34e": 3}}

`query` is what a person types into the search box, its syntax included; `category` and `tags` are
the filters beside it. `relevant` grades items by their ids: 3 is what was asked for, 2 answers it
well, 1 is related. Whatever is not named does not answer the query.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

MAX_GRADE: Final = 3
_KEYS: Final = frozenset({"kind", "query", "category", "tags", "relevant"})


class QrelsError(ValueError):
    """A file that cannot be used; the message names its line and what to change."""


class Kind(enum.StrEnum):
    """Kinds of query, in the order of the report."""

    EXACT_TITLE = "exact title"
    CODE = "code"
    RARE_WORDS = "rare words"
    TYPO = "typo"
    SYNONYM = "synonym"
    DESCRIPTION = "description"
    PICTURE_ONLY = "picture only"
    CATEGORY = "category"
    NEGATIVE = "negative"
    FILTERED = "filtered"
    NONSENSE = "nonsense"


class Half(enum.StrEnum):
    """Weights and limits are chosen on one half and looked at on the other."""

    TUNING = "tuning"
    HELD_OUT = "held-out"


@dataclasses.dataclass(frozen=True, kw_only=True)
class JudgedQuery:
    """A query and the grades of the items that answer it."""

    kind: Kind
    query: str
    category: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    relevant: Mapping[str, int]

    @property
    def half(self) -> Half:
        """By a hash of what is asked: a query that is added or judged again moves no other."""
        asked = json.dumps([self.query, self.category, self.tags], ensure_ascii=False)
        odd = int(hashlib.sha256(asked.encode()).hexdigest(), 16) % 2
        return Half.HELD_OUT if odd else Half.TUNING


def read_qrels(path: Path) -> list[JudgedQuery]:
    """The judged queries of a file, in its order. Raises QrelsError, OSError."""
    found: dict[tuple[str, ...], int] = {}
    queries = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as exc:
        raise QrelsError(f"{path} is not UTF-8. Save it as UTF-8.") from exc
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            query = _judged(json.loads(line))
        except json.JSONDecodeError as exc:
            raise QrelsError(f"{path}, line {number}: not JSON ({exc.msg}).") from exc
        except QrelsError as exc:
            raise QrelsError(f"{path}, line {number}: {exc}") from exc
        asked = (query.query, *query.category, "", *query.tags)
        if asked in found:
            raise QrelsError(
                f"{path}, line {number}: {query.query!r} is asked in line {found[asked]} already."
                " Join their grades in one line."
            )
        found[asked] = number
        queries.append(query)
    if not queries:
        raise QrelsError(f"{path} holds no query.")
    return queries


def _judged(value: Any) -> JudgedQuery:
    if not isinstance(value, dict) or not {"kind", "query", "relevant"} <= value.keys():
        raise QrelsError("an object with kind, query and relevant is needed.")
    if unknown := sorted(value.keys() - _KEYS):
        raise QrelsError(f"{unknown[0]!r} is none of {', '.join(sorted(_KEYS))}.")
    kind, query, relevant = value["kind"], value["query"], value["relevant"]
    if kind not in list(Kind):
        raise QrelsError(f"kind {kind!r} is none of {', '.join(Kind)}.")
    if not isinstance(query, str) or not query.strip():
        raise QrelsError("query is not a text.")
    if not isinstance(relevant, dict) or not all(map(_is_grade, relevant.values())):
        raise QrelsError(f"relevant is not item ids with grades from 1 to {MAX_GRADE}.")
    if bool(relevant) is (kind == Kind.NONSENSE):
        raise QrelsError(f"{query!r} is {kind}: items answer every kind but nonsense.")
    return JudgedQuery(
        kind=Kind(kind),
        query=query,
        category=_texts(value, "category"),
        tags=_texts(value, "tags"),
        relevant=relevant,
    )


def _is_grade(value: object) -> bool:
    return type(value) is int and 1 <= value <= MAX_GRADE


def _texts(value: dict[str, Any], key: str) -> tuple[str, ...]:
    texts = value.get(key, [])
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise QrelsError(f"{key} is not a list of texts.")
    return tuple(texts)
