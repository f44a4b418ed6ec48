"""From what a client sent to what the catalogue takes in, and back to an answer."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from rest_framework.exceptions import NotFound

from catalog.ingest import ItemRecord, Outcome, OutcomeKind, UploadedImage, ingest_one
from catalog.storage import PicturesUnavailable, why_not_stored
from search.api.errors import Busy, PayloadTooLarge, refuse

logger = logging.getLogger(__name__)


def uploaded_image(picture: Any) -> UploadedImage | None:
    """The picture of a validated field, or None where none was given."""
    if picture is None:
        return None
    return UploadedImage(data=picture, filename=PurePath(getattr(picture, "name", "") or "").name)


def item_record(
    fields: Mapping[str, Any], *, item_id: str | None = None, must_exist: bool = False
) -> ItemRecord:
    """The record of validated `ItemFields`; a part that is not among them is left as it is."""
    return ItemRecord(
        item_id=item_id or fields.get("item_id"),
        title=fields.get("title"),
        caption=fields.get("caption"),
        tags=fields.get("tags"),
        category=fields.get("category"),
        image=uploaded_image(fields.get("image")),
        remove_image=fields.get("image", ...) is None,
        must_exist=must_exist,
    )


def store(record: ItemRecord, *, field_names: Mapping[str, str] | None = None) -> Outcome:
    """Take one record in. Raises the 400, 404, 413 or 503 that says what is wrong with it.

    `field_names` are the names of the input's fields where they differ from the record's.
    """
    try:
        outcome = ingest_one(record)
    except PicturesUnavailable as exc:
        logger.warning("%s", exc)
        raise Busy(why_not_stored(exc)) from exc
    if outcome.kind is not OutcomeKind.REJECTED:
        return outcome
    if outcome.missing:
        raise NotFound(outcome.reason)
    if outcome.busy:
        raise Busy(outcome.reason)
    if outcome.too_large:
        raise PayloadTooLarge(outcome.reason)
    raise refuse((field_names or {}).get(outcome.field, outcome.field), outcome.reason)
