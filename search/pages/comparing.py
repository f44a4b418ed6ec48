"""The side-by-side page: one query, two spaces' answers, and which of them is better."""

from __future__ import annotations

import dataclasses
from typing import Final, cast

from django.contrib import messages
from django.contrib.admin.views.decorators import staff_member_required
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods

from embeddings.encoders.base import EncoderError
from embeddings.models import EmbeddingSpace
from embeddings.spaces import SpaceError, active_space, find_space, live_spaces
from search.answer.answering import search
from search.answer.query import QueryError
from search.answer.syntax import ask
from search.comparison.asked import recent_texts
from search.comparison.lists import overlap
from search.comparison.shadowing import beside
from search.comparison.verdicts import Verdicts, verdicts, vote
from search.pages.tiles import Tile, tiles_of

SHOWN: Final = 12
"""Hits a side."""
SUGGESTED: Final = 8
"""Texts asked lately, to try."""


@dataclasses.dataclass(frozen=True)
class Column:
    """One space's answer."""

    side: str
    space: EmbeddingSpace
    tiles: list[Tile]
    elapsed_ms: float


@require_http_methods(["GET", "HEAD", "POST"])
@staff_member_required
def compare_page(request: HttpRequest) -> HttpResponse:
    """Answer a text by two spaces, side by side; keep whose answer was found better."""
    live = live_spaces()
    if len(live) < 2:  # the page says how to get another
        return render(request, "search/compare.html", {"live": live})
    params = request.POST if request.method == "POST" else request.GET
    text, error, status = " ".join(params.get("q", "").split()), "", 200
    spaces: tuple[EmbeddingSpace, EmbeddingSpace] | None = None
    columns: list[Column] = []
    votes: Verdicts | None = None
    try:
        spaces = _two_spaces(params)
        if request.method == "POST":
            return _voted(request, text, *spaces)
        if text:
            columns = [_column(side, space, text) for side, space in zip("ab", spaces, strict=True)]
        votes = verdicts(*spaces)
    except QueryError as exc:
        error, status = exc.message, 400
    except SpaceError as exc:
        error, status = str(exc), 404
    except EncoderError as exc:
        error, status = str(exc), 503
    keys = [[tile.item.pk for tile in column.tiles] for column in columns]
    context = {
        "text": text,
        "sides": list(zip("ab", spaces or (None, None), strict=True)),
        "live": live,
        "columns": columns,
        "alike": overlap(*keys) * 100 if columns else None,
        "votes": votes,
        "suggested": [
            {"text": each, "address": _address(each, spaces)} for each in recent_texts(SUGGESTED)
        ]
        if spaces
        else [],
        "error": error,
    }
    return render(request, "search/compare.html", context, status=status)


def _two_spaces(params: QueryDict) -> tuple[EmbeddingSpace, EmbeddingSpace]:
    """The two that were asked for; without a wish the active one and the one beside it.

    Raises SpaceError where these are no two.
    """
    wished = [params.get(side, "") for side in "ab"]
    if not all(number.isascii() and number.isdigit() and len(number) < 10 for number in wished):
        left, right = active_space(), beside()
    else:
        left, right = (find_space(int(number)) for number in wished)
    if left is None or right is None or left == right:
        raise SpaceError("A space is compared with another: choose two.")
    return left, right


def _column(side: str, space: EmbeddingSpace, text: str) -> Column:
    found = search(ask(text, top_n=SHOWN), space=space)
    return Column(side, space, tiles_of(found.hits), found.timings.total_ms)


def _voted(
    request: HttpRequest, text: str, left: EmbeddingSpace, right: EmbeddingSpace
) -> HttpResponse:
    """Keep the verdict. Raises QueryError for one that is none."""
    better = request.POST.get("better")
    if better not in {"a", "b", "tie"} or not text:
        raise QueryError("better", "Say which side is better: a, b or tie, and of which text.")
    best, other = (right, left) if better == "b" else (left, right)
    user_id = cast("int", request.user.pk)  # the page is for staff, who are logged in
    vote(text=text, better=best, worse=other, is_tie=better == "tie", user_id=user_id)
    messages.success(request, "Your verdict is kept.")
    return redirect(_address(text, (left, right)))


def _address(text: str, spaces: tuple[EmbeddingSpace, EmbeddingSpace]) -> str:
    left, right = spaces
    return f"{reverse('compare')}?{urlencode({'a': str(left.pk), 'b': str(right.pk), 'q': text})}"
