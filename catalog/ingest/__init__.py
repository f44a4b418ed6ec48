"""The one way in: records from anywhere, validated and stored, an outcome for each.

Sources (`catalog.ingest.sources`) read files and folders into records; the HTTP API and the pages
make records of their own. `catalog.ingest.images` is the door for pictures.
"""

from __future__ import annotations

from catalog.ingest.images import ImageBusy, ImageRefused, ImageTooLarge
from catalog.ingest.pipeline import DEFAULT_BATCH_SIZE, ingest, ingest_one
from catalog.ingest.records import (
    ImageInput,
    IngestError,
    InvalidField,
    ItemRecord,
    LocalImage,
    Outcome,
    OutcomeKind,
    UploadedImage,
    split_tags,
)
from catalog.ingest.sources import (
    Source,
    SourceError,
    open_folder,
    open_source,
    records_from_ndjson,
)

__all__ = [
    "DEFAULT_BATCH_SIZE",
    "ImageBusy",
    "ImageInput",
    "ImageRefused",
    "ImageTooLarge",
    "IngestError",
    "InvalidField",
    "ItemRecord",
    "LocalImage",
    "Outcome",
    "OutcomeKind",
    "Source",
    "SourceError",
    "UploadedImage",
    "ingest",
    "ingest_one",
    "open_folder",
    "open_source",
    "records_from_ndjson",
    "split_tags",
]
