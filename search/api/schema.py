"""What the schema says of each operation: its bodies, answers, errors and an example."""

from __future__ import annotations

from typing import Any, Final

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.serializers import Serializer

from search.api import examples, reports, search_serializers, serializers

JSON: Final = "application/json"
FORM: Final = "multipart/form-data"
NDJSON: Final = "application/x-ndjson"

_ITEM_ID: Final = OpenApiParameter(
    "item_id", OpenApiTypes.STR, OpenApiParameter.PATH, description="The item's own id."
)
_REFUSED: Final = OpenApiResponse(
    OpenApiTypes.OBJECT,
    description="What is wrong, by field; `detail` where the body cannot be read.",
    examples=[
        OpenApiExample("By field", value={"top_n": ["0 is not from 1 to 1000."]}),
        OpenApiExample("Unreadable", value={"detail": "JSON parse error - Expecting value."}),
    ],
)


def _error(description: str, detail: str) -> OpenApiResponse:
    return OpenApiResponse(
        reports.Detail,
        description=description,
        examples=[OpenApiExample(description, value={"detail": detail})],
    )


_UNAUTHORISED: Final = _error("A login is needed", "Authentication credentials were not provided.")
_FORBIDDEN: Final = _error("Sent by a page of another site", "A page of another site may not …")
_NOT_FOUND: Final = _error("No such item", "No Item matches the given query.")
_TOO_LARGE: Final = _error("Too large", "The picture has 31,457,280 bytes; at most 26,214,400 …")
_UNAVAILABLE: Final = _error("The model or its index is not ready", "No model is open yet. …")
_DISK_FULL: Final = _error("The disk is full", "The server's disk is full: nothing was stored. …")
_ENCODING_FAILED: Final = _error("The query could not be encoded", "The query could not be …")


def _answer(
    serializer: type[Serializer[Any]], value: Any, description: str = "The answer"
) -> OpenApiResponse:
    """The answer with an example of it."""
    return OpenApiResponse(
        serializer,
        description=description,
        examples=[OpenApiExample(description, value=value, response_only=True)],
    )


_NEW_ITEM: Final = OpenApiExample(
    "A caption alone",
    value={"item_id": "sunset-1", "caption": "Sunset over the mountains.", "tags": ["nature"]},
    request_only=True,
    media_type=JSON,
)
_ITEM_BODY: Final = {JSON: serializers.ItemFields, FORM: serializers.ItemForm}
_SEARCH_ERRORS: Final = {400: _REFUSED, 401: _UNAUTHORISED, 503: _UNAVAILABLE}
_UNREADABLE: Final = _error("Another content type is needed", "Unsupported media type …")
_POSTED_SEARCH_ERRORS: Final = {
    **_SEARCH_ERRORS,
    403: _FORBIDDEN,
    413: _TOO_LARGE,
    415: _UNREADABLE,
    507: _DISK_FULL,  # a large body waits in a file
}
_BULK_ERRORS: Final = {
    401: _UNAUTHORISED,
    403: _FORBIDDEN,
    413: _TOO_LARGE,
    503: _error("Too much at once", "Too many large pictures are being read. Try again in …"),
    507: _DISK_FULL,
}
_WRITE_ERRORS: Final = {400: _REFUSED, **_BULK_ERRORS, 415: _UNREADABLE}

ITEM_LIST: Final = extend_schema(
    tags=["items"],
    summary="List items",
    examples=[OpenApiExample("An item", value=examples.ITEM, response_only=True)],
    responses={
        200: serializers.ItemSerializer(many=True),
        400: _REFUSED,
        401: _UNAUTHORISED,
        404: _error("No such page", "Invalid page."),
    },
)
ITEM_RETRIEVE: Final = extend_schema(
    tags=["items"],
    summary="Show an item",
    parameters=[_ITEM_ID],
    responses={
        200: _answer(serializers.ItemSerializer, examples.ITEM),
        401: _UNAUTHORISED,
        404: _NOT_FOUND,
    },
)
ITEM_DESTROY: Final = extend_schema(
    tags=["items"],
    summary="Delete an item",
    description="It is gone from every search at once.",
    parameters=[_ITEM_ID],
    responses={
        204: OpenApiResponse(description="Deleted"),
        401: _UNAUTHORISED,
        403: _FORBIDDEN,
        404: _NOT_FOUND,
        507: _DISK_FULL,
    },
)
ITEM_CREATE: Final = extend_schema(
    tags=["items"],
    summary="Add or update an item",
    request=_ITEM_BODY,
    examples=[_NEW_ITEM],
    responses={
        201: _answer(serializers.ItemSerializer, {**examples.ITEM, "state": "pending"}, "Added"),
        200: _answer(
            serializers.ItemSerializer, examples.ITEM, "An item of this id was there: updated"
        ),
        **_WRITE_ERRORS,
        404: _error("Deleted meanwhile", "Item 'sunset-1' was stored, and deleted a moment later."),
    },
)
_ITEM_CHANGED: Final = {
    200: _answer(serializers.ItemSerializer, {**examples.ITEM, "state": "pending"}, "Changed"),
    **_WRITE_ERRORS,
    404: _NOT_FOUND,
}
ITEM_UPDATE: Final = extend_schema(
    tags=["items"],
    summary="Replace an item",
    parameters=[_ITEM_ID],
    request=_ITEM_BODY,
    examples=[_NEW_ITEM],
    responses=_ITEM_CHANGED,
)
ITEM_PARTIAL_UPDATE: Final = extend_schema(
    tags=["items"],
    summary="Change parts of an item",
    parameters=[_ITEM_ID],
    request=_ITEM_BODY,
    examples=[
        OpenApiExample(
            "New tags", value={"tags": ["nature", "dusk"]}, request_only=True, media_type=JSON
        )
    ],
    responses=_ITEM_CHANGED,
)
ITEM_SIMILAR: Final = extend_schema(
    tags=["items"],
    summary="Find similar items",
    parameters=[_ITEM_ID, search_serializers.SimilarParameters],
    filters=False,
    responses={
        200: _answer(search_serializers.SearchEnvelope, examples.ENVELOPE),
        404: _NOT_FOUND,
        409: _error("Not embedded yet", "This item has no vector yet: it is pending or failed."),
        **_SEARCH_ERRORS,
    },
)
ITEM_BULK: Final = extend_schema(
    tags=["items"],
    operation_id="v1_items_bulk",
    summary="Add or update many items",
    request={NDJSON: serializers.BulkRecord},
    examples=[
        OpenApiExample(
            "A line",
            value={"item_id": "sunset-1", "caption": "Sunset over the mountains."},
            request_only=True,
            media_type=NDJSON,
        ),
        OpenApiExample(
            "Taken in",
            value={"line": 1, "item_id": "sunset-1", "outcome": "new"},
            response_only=True,
            media_type=NDJSON,
        ),
        OpenApiExample(
            "Rejected",
            value={
                "line": 2,
                "item_id": None,
                "outcome": "rejected",
                "field": "",
                "reason": "The line is not JSON: Expecting value (character 1).",
            },
            response_only=True,
            media_type=NDJSON,
        ),
    ],
    responses={
        (200, NDJSON): serializers.BulkOutcome,
        **_BULK_ERRORS,
    },
)
SEARCH_GET: Final = extend_schema(
    tags=["search"],
    operation_id="v1_search",
    summary="Search",
    parameters=[search_serializers.SearchParameters],
    responses={
        200: _answer(search_serializers.SearchEnvelope, examples.ENVELOPE),
        **_SEARCH_ERRORS,
    },
)
SEARCH_POST: Final = extend_schema(
    tags=["search"],
    operation_id="v1_search_composed",
    summary="Search with words, a picture, an item, or several of them",
    request={JSON: search_serializers.SearchRequest, FORM: search_serializers.SearchForm},
    examples=[
        OpenApiExample(
            "Words and an item",
            value={"q": "but green", "like": "apple-1", "top_n": 10, "tags": ["fruit"]},
            request_only=True,
            media_type=JSON,
        )
    ],
    responses={
        200: _answer(search_serializers.SearchEnvelope, examples.ENVELOPE),
        **_POSTED_SEARCH_ERRORS,
    },
)
INGEST_STREAM: Final = extend_schema(
    operation_id="ingest_stream",
    summary="Ingest one item",
    tags=["original"],
    request={FORM: serializers.StreamedItem},
    examples=[
        OpenApiExample(
            "A caption alone",
            value={"text_caption": "A fluffy cat.", "item_id": "cat-1", "tags_str": "cat,pet"},
            request_only=True,
            media_type=FORM,
        )
    ],
    responses={
        200: _answer(
            serializers.Accepted,
            {
                "message": "Item accepted for processing.",
                "item_id": "cat-1",
                "processing_time": 0.0023,
            },
        ),
        **_WRITE_ERRORS,
    },
)
SEARCH_TEXT: Final = extend_schema(
    operation_id="search_text",
    summary="Search with words",
    tags=["original"],
    request=search_serializers.TextQuery,
    examples=[
        OpenApiExample(
            "A query", value={"query_text": "a red apple", "top_n": 5}, request_only=True
        )
    ],
    responses={
        200: _answer(serializers.LegacyResults, examples.LEGACY),
        **_POSTED_SEARCH_ERRORS,
        500: _ENCODING_FAILED,
    },
)
SEARCH_IMAGE: Final = extend_schema(
    operation_id="search_image",
    summary="Search with a picture",
    tags=["original"],
    request={FORM: search_serializers.ImageQuery},
    responses={
        200: _answer(serializers.LegacyResults, examples.LEGACY),
        **_POSTED_SEARCH_ERRORS,
        500: _ENCODING_FAILED,
    },
)
STATS: Final = extend_schema(
    operation_id="stats",
    summary="System statistics",
    tags=["original"],
    responses={
        200: _answer(
            reports.SystemReport,
            examples.STATS,
        ),
        401: _UNAUTHORISED,
        503: _UNAVAILABLE,
    },
)
HEALTHZ: Final = extend_schema(
    operation_id="healthz",
    summary="Liveness",
    tags=["operation"],
    responses={200: _answer(reports.Liveness, {"status": "ok"}, "The process answers")},
)
READYZ: Final = extend_schema(
    operation_id="readyz",
    summary="Readiness",
    tags=["operation"],
    responses={
        200: _answer(
            reports.ReadinessReport,
            {"ready": True, "parts": {"database": "ok", "model": "ok", "index": "ok"}},
            "Ready",
        ),
        503: _answer(
            reports.ReadinessReport,
            {"ready": False, "parts": {"database": "ok", "model": "loading", "index": "loading"}},
            "Not ready",
        ),
    },
)
METRICS: Final = extend_schema(
    operation_id="metrics",
    summary="Prometheus metrics",
    tags=["operation"],
    responses={
        (200, "text/plain"): OpenApiResponse(
            OpenApiTypes.STR,
            examples=[OpenApiExample("A metric", value='mmsearch_items{state="indexed"} 1852.0')],
        ),
        401: _UNAUTHORISED,
    },
)
