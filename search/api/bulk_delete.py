"""`/api/v1/items/bulk-delete/`: many items go in one request."""

from __future__ import annotations

from itertools import chain
from typing import Any, Final

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog.deletion import delete_items, items_of_ids
from search.api import reports, schema
from search.api.bodies import JsonParser
from search.api.fields import Text
from search.api.items import ITEM_ACTIONS, ItemViewSet
from search.api.parameters import Fields

MAX_IDS: Final = 10_000
"""Ids of a request: some seconds of work."""


class Deletion(Fields):
    item_ids = serializers.ListField(
        child=Text(max_length=200),
        allow_empty=False,
        max_length=MAX_IDS,
        help_text="Ids of the items that go.",
    )


class Deleted(serializers.Serializer[Any]):
    deleted = serializers.IntegerField(help_text="How many items were there and are gone.")
    unknown = serializers.ListField(
        child=serializers.CharField(), help_text="Ids that no item had: nothing to delete."
    )


class BulkDeleteView(APIView):
    """Delete many items by their ids. A POST: proxies may drop the body of a DELETE."""

    parser_classes = (JsonParser,)

    @extend_schema(
        tags=["items"],
        operation_id="v1_items_bulk_delete",
        summary="Delete many items",
        request={schema.JSON: Deletion},
        examples=[
            OpenApiExample(
                "Two items", value={"item_ids": ["sunset-1", "cat-1"]}, request_only=True
            ),
            OpenApiExample(
                "One was there", value={"deleted": 1, "unknown": ["cat-1"]}, response_only=True
            ),
        ],
        responses={
            200: Deleted,
            400: OpenApiResponse(
                {"type": "object"}, description="What is wrong, by field; nothing is deleted."
            ),
            401: OpenApiResponse(reports.Detail, description="A login is needed"),
            403: OpenApiResponse(reports.Detail, description="Sent by a page of another site"),
            413: OpenApiResponse(reports.Detail, description="Too large"),
            415: OpenApiResponse(reports.Detail, description="Another content type is needed"),
            507: OpenApiResponse(reports.Detail, description="The disk is full"),
        },
    )
    def post(self, request: Request) -> Response:
        """Delete the items with these ids; to send it again does no harm."""
        body = Deletion(data=request.data)
        body.is_valid(raise_exception=True)
        item_ids = dict.fromkeys(body.validated_data["item_ids"])
        found: set[str] = set()
        for items in items_of_ids(item_ids):
            found.update(items.values_list("item_id", flat=True))
        deleted = sum(chain.from_iterable(map(delete_items, items_of_ids(found))))
        unknown = [item_id for item_id in item_ids if item_id not in found]
        return Response({"deleted": deleted, "unknown": unknown})

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Hand every other method to the item that happens to be called `bulk-delete`."""
        if (request.method or "").lower() in ITEM_ACTIONS:
            return ItemViewSet.as_view(ITEM_ACTIONS)(request, item_id="bulk-delete")
        return super().dispatch(request, *args, **kwargs)
