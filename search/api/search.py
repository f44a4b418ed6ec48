"""`/api/v1/search/`: one endpoint for words, pictures, items and their combinations."""

from __future__ import annotations

from typing import Any, BinaryIO, Final

from PIL.Image import Image
from rest_framework.parsers import FormParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog.ingest.images import ImageBusy, ImageRefused, ImageTooLarge, decode_query_image
from embeddings.encoders.base import Modality
from embeddings.states import ItemState
from search.answer.answering import UnknownItem, search
from search.answer.query import Filters, SearchQuery, Term
from search.answer.syntax import ask
from search.api import schema
from search.api.bodies import JsonParser, MultiPartParser
from search.api.errors import Busy, PayloadTooLarge, refuse
from search.api.parameters import refuse_unknown
from search.api.results import envelope
from search.api.search_serializers import SearchParameters, SearchRequest

_PASSED_ON: Final = ("top_n", "offset", "cursor", "modality", "min_score", "all")


def decode_picture(field: str, picture: BinaryIO) -> Image:
    """The picture to search by. Raises the 400, 413 or 503 that says what is wrong with it."""
    try:
        return decode_query_image(picture, filename=getattr(picture, "name", "") or "")
    except ImageBusy as exc:
        raise Busy(str(exc)) from exc
    except ImageTooLarge as exc:
        raise PayloadTooLarge(str(exc)) from exc
    except ImageRefused as exc:
        raise refuse(field, str(exc)) from exc


def query_of(asked: dict[str, Any], *, like: str = "", **options: Any) -> SearchQuery:
    """The query that validated parameters mean. Raises QueryError, and what pictures raise."""
    filters = Filters(
        categories=asked.get("category", ()),
        tags=asked.get("tags", ()),
        any_tags=asked.get("any_tags", ()),
        no_tags=asked.get("no_tags", ()),
        has=tuple(sorted(Modality(part) for part in asked.get("has", ()))),
        after=asked.get("after"),
        before=asked.get("before"),
        state=ItemState(asked["state"]) if "state" in asked else None,
    )
    picture = asked.get("image")
    paging: dict[str, Any] = {name: asked[name] for name in _PASSED_ON if name in asked}
    return ask(
        asked.get("q", ""),
        image=decode_picture("image", picture) if picture is not None else None,
        like=like or asked.get("like", ""),
        terms=tuple(_term(term) for term in asked.get("terms", ())),
        filters=filters,
        facets=True,
        **{**paging, **options},
    )


def _term(asked: dict[str, Any]) -> Term:
    picture = asked.get("image")
    return Term(
        text=asked.get("text", ""),
        image=decode_picture("terms", picture) if picture is not None else None,
        item=asked.get("like", ""),
        weight=asked["weight"],
    )


class SearchView(APIView):
    """Search by meaning."""

    parser_classes = (JsonParser, MultiPartParser, FormParser)
    accepts_base64 = True
    query_field_names = {"text": "q"}  # noqa: RUF012  constant

    @schema.SEARCH_GET
    def get(self, request: Request) -> Response:
        """Search with words, or for items like another one."""
        parameters = SearchParameters(data=request.query_params)
        refuse_unknown(request, parameters.fields)
        parameters.is_valid(raise_exception=True)
        return self._answer(request, parameters.validated_data)

    @schema.SEARCH_POST
    def post(self, request: Request) -> Response:
        """Search with words, a picture, an item to resemble, or several of them together."""
        parameters = SearchRequest(data=request.data)
        parameters.is_valid(raise_exception=True)
        return self._answer(request, parameters.validated_data)

    def _answer(self, request: Request, parameters: dict[str, Any]) -> Response:
        query = query_of(parameters)
        try:
            return Response(envelope(request, query, search(query)))
        except UnknownItem as exc:
            raise refuse("like", str(exc)) from exc
