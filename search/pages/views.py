"""The pages. They translate between addresses, forms, templates and the services."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Concatenate, Final, ParamSpec

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods, require_safe

from catalog.ingest import OutcomeKind, ingest_one
from catalog.ingest.images import ImageBusy, ImageRefused, ImageTooLarge, decode_query_image
from catalog.models import Item
from catalog.storage import PicturesUnavailable
from embeddings.encoders.base import EncoderError
from embeddings.parts import PARTS
from embeddings.spaces import SpaceError, active_space
from embeddings.states import ItemState, with_state
from search.answer.answering import UnknownItem, search
from search.answer.browsing import browse, categories, sample
from search.answer.facets import Facets
from search.answer.query import ANY, QueryError
from search.answer.syntax import ask
from search.pages import query_pictures
from search.pages.addresses import PAGE_SIZE, PageQuery
from search.pages.forms import PictureQueryForm, UploadForm
from search.pages.media import media_response
from search.pages.query_pictures import PictureGone
from search.pages.tiles import Choice, Shown, Tile, shown_page, tiles_of
from search.visitors import is_open

EXAMPLES: Final = (
    "a red apple",
    "something warm to drink",
    "fast car",
    "laughing so hard",
    "a rainy day",
    "animals that live in the sea",
)
"""Queries that the demo catalogue answers well."""
SIMILAR_ITEMS: Final = 12

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def visitors_only(view: View[P]) -> View[P]:
    """Let everyone in where the installation is open to the request, else whoever logged in.

    The check against forged forms reads the body, so it comes after this one.
    """
    checked = csrf_protect(view)

    @csrf_exempt
    @functools.wraps(view)
    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if is_open(request) or request.user.is_authenticated:
            return checked(request, *args, **kwargs)
        return redirect_to_login(request.get_full_path())

    return guarded


@require_http_methods(["GET", "HEAD", "POST"])
@visitors_only
def search_page(request: HttpRequest) -> HttpResponse:
    """Search by words, a picture or both; without either, browse."""
    if request.method == "POST":
        return _search_with_picture(request)
    query, shown, error, status = _words_alone(request.GET), None, "", 200
    try:
        query = PageQuery.from_address(request.GET)
        shown = _answer(query)
    except (QueryError, PictureGone) as exc:
        error, status = str(exc), 400
    except UnknownItem as exc:
        error, status = str(exc), 404
    except (EncoderError, SpaceError, PicturesUnavailable) as exc:
        error, status = f"Searching does not work just now. {exc}", 503
    return _render_search(request, query, shown=shown, error=error, status=status)


def _search_with_picture(request: HttpRequest) -> HttpResponse:
    """Keep the picture and go to the address that searches with it."""
    form = PictureQueryForm(request.POST, request.FILES)
    try:
        query = PageQuery.from_address(request.POST)
        if form.is_valid():
            sent = form.picture
            token = query_pictures.keep(decode_query_image(sent.data, filename=sent.filename))
            return redirect(query.address(picture=token, like=""))
        error, status = str(next(iter(form.errors.values()))[0]), 400
    except (ImageBusy, PicturesUnavailable) as exc:
        error, status = str(exc), 503
    except ImageTooLarge as exc:
        error, status = str(exc), 413
    except (ImageRefused, QueryError) as exc:
        error, status = str(exc), 400
    return _render_search(request, _words_alone(request.POST), error=error, status=status)


def _words_alone(params: QueryDict) -> PageQuery:
    """The words of a query that cannot be answered, to be mended."""
    return PageQuery(text=params.get("q", ""))


def _render_search(
    request: HttpRequest,
    query: PageQuery,
    *,
    shown: Shown | None = None,
    error: str = "",
    status: int = 200,
) -> HttpResponse:
    picture = settings.MEDIA_URL + query_pictures.name(query.picture) if query.picture else ""
    context = {
        "query": query,
        "shown": shown,
        "error": error,
        "landing": not (query.searches or query.browses or error),
        "everything": PageQuery(everything=True).address(),
        "picture_refused": bool(error) and request.method == "POST",
        "examples": EXAMPLES if settings.MMSEARCH_DEMO else (),
        "picture": picture,
        "nearest": query.address(everything=True),
        "without_picture": query.address(picture=""),
        "without_like": query.address(like=""),
        "unfiltered": query.address(categories=(), tags=(), modality="any"),
        "modalities": [
            Choice(label, query.address(modality=value), query.modality == value)
            for value, label in _modality_choices()
        ],
    }
    return render(request, "search/search.html", context, status=status)


def _modality_choices() -> list[tuple[str, str]]:
    """What may match: anything, or vectors of one of the modalities that the space covers."""
    space = active_space()
    covered = () if space is None else space.covers
    return [(ANY, "Anything"), *((each.value, PARTS[each].plural.capitalize()) for each in covered)]


def _answer(query: PageQuery) -> Shown:
    """What was searched for, browsed, or a look around."""
    if query.searches:
        asked = query.to_search_query()
        found = search(asked)
        tiles = tiles_of(found.hits)
        shown = shown_page(query, tiles, found.total, found.facets, found.timings.total_ms)
        return dataclasses.replace(shown, notes=asked.notes)
    facets = Facets(categories=categories())
    if query.browses:
        page = browse(
            categories=query.categories, tags=query.tags, offset=query.offset, limit=PAGE_SIZE
        )
        return shown_page(query, [Tile(item) for item in page.items], page.total, facets)
    around = sample(PAGE_SIZE)
    shown = shown_page(query, [Tile(item) for item in around.items], around.total, facets)
    return dataclasses.replace(shown, next_address="")


@require_safe
@visitors_only
def item_page(request: HttpRequest, item_id: str) -> HttpResponse:
    """One item: its picture, facts, state, and what resembles it."""
    if "\x00" in item_id:  # PostgreSQL would refuse the question
        raise Http404("An item id has no null characters.")
    items = with_state(Item.objects.filter(item_id=item_id)).prefetch_related("tags")
    item = items.first()
    if item is None:
        raise Http404(f"There is no item {item_id!r}.")
    state = ItemState(item.state)  # type: ignore[attr-defined]  # annotated
    similar: list[Tile] = []
    error = ""
    if state is ItemState.INDEXED:
        try:
            found = search(ask(like=item.item_id, top_n=SIMILAR_ITEMS, all=True))
            similar = tiles_of(found.hits)
        except UnknownItem:  # deleted, or edited, since it was read above
            pass
        except (EncoderError, SpaceError) as exc:
            error = f"Similar items cannot be found just now. {exc}"
    context = {
        "item": item,
        "caption": Tile(item).caption if item.title else "",
        "state": state.value,
        "saved": request.GET.get("saved", ""),
        "similar": similar,
        "more_like_this": PageQuery(like=item.item_id).address(),
        "error": error,
        "category_address": PageQuery(categories=(item.category,)).address(),
        "tags": [
            Choice(tag.name, PageQuery(tags=(tag.name,)).address(), chosen=False)
            for tag in item.tags.all()
        ],
    }
    return render(request, "search/item.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@visitors_only
def upload_page(request: HttpRequest) -> HttpResponse:
    """Add one item, or update the one whose id is given."""
    form = UploadForm(request.POST or None, request.FILES or None)
    status = 200
    if request.method == "POST":
        form = UploadForm(request.POST, request.FILES)
        if form.is_valid():
            outcome = ingest_one(form.record())
            if outcome.kind is not OutcomeKind.REJECTED:
                return redirect(_item_address(outcome.item_id, saved=outcome.kind))
            form.refuse(outcome.field, outcome.reason)
            status = 503 if outcome.busy else 413 if outcome.too_large else 400
        else:
            status = 400
    context: dict[str, Any] = {"form": form, "categories": [name for name, _ in categories()]}
    return render(request, "search/upload.html", context, status=status)


def _item_address(item_id: str, *, saved: str) -> str:
    return f"{reverse('item', args=[item_id])}?saved={saved}"


@require_safe
@visitors_only
def media(request: HttpRequest, path: str) -> HttpResponseBase:
    """A stored picture."""
    if "\x00" in path:  # PostgreSQL would refuse the question
        raise Http404("A picture's name has no null characters.")
    return media_response(request, path)
