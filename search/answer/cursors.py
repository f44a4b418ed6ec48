"""Reading on where the last page ended, while items come and go.

Scores move with everything that is added, so no mark in the order of today's hits finds the same
place in tomorrow's. The first page therefore keeps its whole ranking for a while, in the database,
so that any process goes on in it: no hit comes twice and none is skipped. What was deleted since,
or is no longer allowed, is passed over; what was added since comes when the search is asked anew.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import re
import secrets
from datetime import timedelta
from typing import Final

import numpy as np
from django.utils import timezone

from search.answer.query import START, QueryError, SearchQuery, Term
from search.answer.ranking import MAX_HITS, Ranked
from search.models import KeptRanking

KEPT_FOR: Final = timedelta(hours=1)
MAX_KEPT: Final = 200
"""Rankings kept at most, so that nobody fills the database by searching."""
_CURSOR: Final = re.compile(r"([A-Za-z0-9_-]{22})\.(\d{1,5})")
_EVIDENCE: Final = "evidence "
_OF_A_PAGE: Final = ("top_n", "offset", "cursor", "facets", "notes")
"""What may differ from page to page."""


@dataclasses.dataclass(frozen=True, eq=False)
class Resumed:
    """A kept ranking, and the place in it at which the wanted page begins."""

    token: str
    ranked: Ranked
    place: int


def keep(query: SearchQuery, ranked: Ranked) -> Resumed:
    """Keep the ranking of a query's first page."""
    packed = io.BytesIO()
    columns = {"ids": ranked.ids, "scores": ranked.scores}
    columns |= {f"{_EVIDENCE}{name}": values for name, values in ranked.evidence.items()}
    np.savez_compressed(packed, **{name: column[:MAX_HITS] for name, column in columns.items()})  # type: ignore[arg-type]
    token = secrets.token_urlsafe(16)
    KeptRanking.objects.create(token=token, query=_digest(query), hits=packed.getvalue())
    _forget_old()
    return Resumed(token, ranked, 0)


def resume(query: SearchQuery) -> Resumed:
    """The ranking that the query's cursor is of. Raises QueryError."""
    found = _CURSOR.fullmatch(query.cursor)
    if found is None:
        raise QueryError("cursor", f"{query.cursor!r} is no cursor; begin with {START!r}.")
    kept = KeptRanking.objects.filter(token=found[1]).first()
    if kept is None:
        raise QueryError("cursor", f"This cursor is no longer kept; begin again with {START!r}.")
    if kept.query != _digest(query):
        raise QueryError("cursor", f"This cursor is of another query; begin with {START!r}.")
    with np.load(io.BytesIO(kept.hits)) as packed:
        evidence = {
            name.removeprefix(_EVIDENCE): packed[name]
            for name in packed
            if name.startswith(_EVIDENCE)
        }
        return Resumed(kept.token, Ranked(packed["ids"], packed["scores"], evidence), int(found[2]))


def cursor_at(resumed: Resumed, place: int) -> str | None:
    """The cursor of the page that begins at a place; None where nothing comes any more."""
    return f"{resumed.token}.{place}" if place < resumed.ranked.ids.size else None


def _digest(query: SearchQuery) -> str:
    fields = {
        field.name: getattr(query, field.name)
        for field in dataclasses.fields(query)
        if field.name not in _OF_A_PAGE
    }
    fields["terms"] = [_told(term) for term in query.terms]
    return hashlib.sha256(repr(fields).encode()).hexdigest()


def _told(term: Term) -> tuple[str, str, str, float]:
    image = "" if term.image is None else hashlib.sha256(term.image.tobytes()).hexdigest()
    return term.text, term.item, image, term.weight


def _forget_old() -> None:
    """Delete rankings beyond MAX_KEPT, and those that are too old."""
    newest = KeptRanking.objects.order_by("-pk").values_list("pk", flat=True)
    beyond = newest[MAX_KEPT : MAX_KEPT + 1].first()
    old = KeptRanking.objects.filter(created_at__lt=timezone.now() - KEPT_FOR)
    old.delete()
    if beyond is not None:
        KeptRanking.objects.filter(pk__lte=beyond).delete()
