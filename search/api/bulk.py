"""`/api/v1/items/bulk/`: records in, outcomes out, one a line, at flat memory."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any, Final

from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.views import APIView

from catalog.ingest import ItemRecord, Outcome, OutcomeKind, ingest, records_from_ndjson
from search.api import schema
from search.api.items import ITEM_ACTIONS, ItemViewSet
from search.api.spool import BodySpool, body_reader

MAX_BATCH: Final = 1000
"""Records taken in before their outcomes are written."""
MAX_BATCH_BYTES: Final = 8 * 2**20
WRITE_BATCH: Final = 100
"""Outcomes written at a time."""


class BulkView(APIView):
    """Add or update many items in one request, as NDJSON."""

    @schema.ITEM_BULK
    def post(self, request: Request) -> StreamingHttpResponse:
        """Take in one record a line; answer with one outcome a line, while the lines come."""
        return StreamingHttpResponse(
            _answer(request._request),  # noqa: SLF001  its body, unread
            content_type=schema.NDJSON,
            headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"},
        )

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Hand every other method to the item that happens to be called `bulk`."""
        if (request.method or "").lower() in ITEM_ACTIONS:
            return ItemViewSet.as_view(ITEM_ACTIONS)(request, item_id="bulk")
        return super().dispatch(request, *args, **kwargs)


def _answer(request: HttpRequest) -> Iterator[bytes]:
    """Outcome lines of the body's lines."""
    with BodySpool(body_reader(request)) as body:
        for batch in _batches(body):
            outcomes = ingest(batch)
            while lines := list(itertools.islice(outcomes, WRITE_BATCH)):
                yield b"".join(map(_outcome_line, lines))


def _batches(body: BodySpool) -> Iterator[list[ItemRecord | Outcome]]:
    """Records that are there: a client may wait for their outcomes before it sends more."""
    batch: list[ItemRecord | Outcome] = []
    began = 0
    for record in records_from_ndjson(body):
        batch.append(record)
        full = len(batch) >= MAX_BATCH or body.position - began >= MAX_BATCH_BYTES
        if full or not body.has_line():
            yield batch
            batch, began = [], body.position
    if batch:
        yield batch


def _outcome_line(outcome: Outcome) -> bytes:
    fields: dict[str, Any] = {
        "line": outcome.line,
        "item_id": outcome.item_id or None,
        "outcome": outcome.kind.value,
    }
    if outcome.kind is OutcomeKind.REJECTED:
        fields |= {"field": outcome.field, "reason": outcome.reason}
    if outcome.note:
        fields["note"] = outcome.note
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"
