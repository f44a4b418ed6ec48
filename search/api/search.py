"""`/api/v1/search/`: one endpoint for words, pictures, items and their combinations."""

from __future__ import annotations

from typing import Any, BinaryIO

from PIL.Image import Image
from rest_framework.parsers import FormParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog.ingest.images import ImageBusy, ImageRefused, ImageTooLarge, decode_query_image
from search.answer.answering import UnknownItem, search
from search.answer.query import SearchQuery
from search.api import schema
from search.api.bodies import JsonParser, MultiPartParser
from search.api.errors import Busy, PayloadTooLarge, refuse
from search.api.parameters import refuse_unknown
from search.api.results import envelope
from search.api.serializers import SearchParameters, SearchRequest


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
        refuse_unknown(request, parameters.fields)
        return self._answer(request, parameters.validated_data)

    def _answer(self, request: Request, parameters: dict[str, Any]) -> Response:
        picture = parameters.pop("image", None)
        query = SearchQuery(
            text=parameters.pop("q", ""),
            image=decode_picture("image", picture) if picture is not None else None,
            facets=True,
            **parameters,
        )
        try:
            return Response(envelope(request, query, search(query)))
        except UnknownItem as exc:
            raise refuse("like", str(exc)) from exc
