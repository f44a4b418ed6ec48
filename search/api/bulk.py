"""`/api/v1/items/bulk/`: records in, outcomes out, one a line, at flat memory.

The server has the whole body, in a file where it is large, before the first line is read.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.views import APIView

from catalog.ingest import ItemRecord, Outcome, OutcomeKind, ingest, records_from_ndjson
from catalog.ingest.records import rejected
from catalog.storage import why_not_stored
from search.api import schema
from search.api.bodies import refuse_longer_than
from search.api.errors import DATABASE_AWAY, is_database_away
from search.api.items import ITEM_ACTIONS, ItemViewSet

logger = logging.getLogger(__name__)
WRITE_BATCH: Final = 100
"""Outcomes written at a time."""


class BulkView(APIView):
    """Add or update many items in one request, as NDJSON."""

    @schema.ITEM_BULK
    def post(self, request: Request) -> StreamingHttpResponse:
        """Take in one record a line; answer with one outcome a line."""
        refuse_longer_than(settings.MMSEARCH_MAX_BULK_BYTES, {"request": request})
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
    outcomes = _outcomes(records_from_ndjson(request))
    while lines := list(itertools.islice(outcomes, WRITE_BATCH)):
        yield b"".join(map(_outcome_line, lines))


def _outcomes(records: Iterator[ItemRecord | Outcome]) -> Iterator[Outcome]:
    """What becomes of the records; where they find no room or no database, the rest is told so."""
    unanswered: deque[tuple[int | None, str]] = deque()

    def noted() -> Iterator[ItemRecord | Outcome]:
        for record in records:
            unanswered.append((record.line, record.item_id or ""))
            yield record

    try:
        for outcome in ingest(noted()):
            unanswered.popleft()
            yield outcome
    except (OSError, DatabaseError) as exc:
        reason = DATABASE_AWAY if is_database_away(exc) else why_not_stored(exc)
        if reason is None:
            raise
        logger.error("Nothing more is stored: %s", exc)  # noqa: TRY400  the place says nothing
        rest = ((record.line, record.item_id or "") for record in records)
        for line, item_id in itertools.chain(unanswered, rest):
            yield rejected(reason, line=line, item_id=item_id)


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
