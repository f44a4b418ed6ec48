"""`/api/v1/items/`: the catalogue over HTTP."""

from __future__ import annotations

from typing import Any, Final

from django.db.models import QuerySet
from django_filters.rest_framework import DjangoFilterBackend
from drf_spectacular.utils import extend_schema_view
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound
from rest_framework.parsers import FormParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from catalog.ingest import Outcome, OutcomeKind
from catalog.models import Item
from embeddings.states import with_state
from search.answer.answering import UnknownItem, search
from search.api import schema
from search.api.bodies import JsonParser, MultiPartParser
from search.api.errors import Conflict, refuse
from search.api.intake import item_record, store
from search.api.listing import ItemFilters
from search.api.parameters import refuse_unknown
from search.api.results import envelope
from search.api.search import query_of
from search.api.search_serializers import SimilarParameters
from search.api.serializers import ItemFields, ItemSerializer

BLANK: Final = {"title": "", "caption": "", "tags": (), "category": ""}
"""What a PUT clears where it does not say it; a picture stays until another, or null, is sent."""

NOTHING_SENT: Final = "The body holds no field of an item. Send at least one."
"""A body that was lost on the way must not clear an item."""

ITEM_ACTIONS: Final[dict[str, Any]] = {
    "get": "retrieve",
    "put": "update",
    "patch": "partial_update",
    "delete": "destroy",
}
"""Method by method what happens to one item."""


@extend_schema_view(
    list=schema.ITEM_LIST, retrieve=schema.ITEM_RETRIEVE, destroy=schema.ITEM_DESTROY
)
class ItemViewSet(
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.DestroyModelMixin,
    GenericViewSet[Item],
):
    """Items by their `item_id`. Every write goes through the catalogue's ingestion."""

    queryset = Item.objects.all()
    serializer_class = ItemSerializer
    parser_classes = (JsonParser, MultiPartParser, FormParser)
    filter_backends = (DjangoFilterBackend,)
    filterset_class = ItemFilters
    lookup_field = "item_id"
    accepts_base64 = True
    query_field_names = {"text": "q"}  # noqa: RUF012  constant

    def get_queryset(self) -> QuerySet[Item]:
        items = super().get_queryset()
        if getattr(self, "swagger_fake_view", False):  # the schema is made without a database
            return items
        return with_state(items).prefetch_related("tags")

    def list(self, request: Request) -> Response:
        """Items that the filters allow, page by page."""
        refuse_unknown(request, {*ItemFilters.base_filters, "page", "page_size"})
        return super().list(request)

    @schema.ITEM_CREATE
    def create(self, request: Request) -> Response:
        """Add an item, or update the one that has this `item_id`."""
        outcome = store(item_record(self._fields(request)))
        answer = self._show(outcome)
        if outcome.kind is OutcomeKind.NEW:
            answer.status_code = status.HTTP_201_CREATED
            answer["Location"] = answer.data["url"]
        return answer

    @schema.ITEM_UPDATE
    def update(self, request: Request, item_id: str) -> Response:
        """Replace what is known about an item; its picture stays until another is sent."""
        return self._change(request, item_id, BLANK)

    @schema.ITEM_PARTIAL_UPDATE
    def partial_update(self, request: Request, item_id: str) -> Response:
        """Change the parts that are sent."""
        return self._change(request, item_id, {})

    @schema.ITEM_SIMILAR
    @action(detail=True, filter_backends=(), pagination_class=None)
    def similar(self, request: Request, item_id: str) -> Response:  # noqa: ARG002
        """Items that look or read like this one; the item itself is left out."""
        item = self.get_object()
        parameters = SimilarParameters(data=request.query_params)
        refuse_unknown(request, parameters.fields)
        parameters.is_valid(raise_exception=True)
        nearest = "min_score" not in parameters.validated_data
        query = query_of(parameters.validated_data, like=item.item_id, all=nearest)
        try:
            return Response(envelope(request, query, search(query)))
        except UnknownItem as exc:
            raise Conflict(str(exc)) from exc

    def _change(self, request: Request, item_id: str, blank: dict[str, Any]) -> Response:
        self.get_object()
        fields = self._fields(request)
        if fields.get("item_id", item_id) != item_id:
            raise refuse("item_id", f"The address says {item_id!r}, and an item id is for good.")
        if not fields.keys() - {"item_id"}:
            raise refuse("", NOTHING_SENT)
        record = item_record({**blank, **fields}, item_id=item_id, must_exist=True)
        return self._show(store(record))

    def _fields(self, request: Request) -> dict[str, Any]:
        fields = ItemFields(data=request.data)
        fields.is_valid(raise_exception=True)
        validated: dict[str, Any] = fields.validated_data
        return validated

    def _show(self, outcome: Outcome) -> Response:
        item = self.get_queryset().filter(item_id=outcome.item_id).first()
        if item is None:
            raise NotFound(f"Item {outcome.item_id!r} was stored, and deleted a moment later.")
        return Response(self.get_serializer(item).data)
