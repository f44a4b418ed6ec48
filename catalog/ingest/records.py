"""What comes in, what became of it, and what a field may hold."""

from __future__ import annotations

import base64
import dataclasses
import enum
import hashlib
import re
import uuid
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from django.conf import settings

from catalog.models import ITEM_ID_PATTERN, Item, Tag

MAX_TAGS: Final = 200
"""Tags of one item."""

_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


class IngestError(Exception):
    """Something cannot be ingested; the message names it and the mend."""


class InvalidField(IngestError):  # noqa: N818  a fact about the field
    """One field of a record is wrong."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


@dataclasses.dataclass(frozen=True, kw_only=True)
class UploadedImage:
    """A picture that was sent along: its bytes, or an open binary file."""

    data: bytes | BinaryIO
    filename: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalImage:
    """A picture on this machine's disk; the path is resolved and was found to be allowed."""

    path: Path
    linked_root: Path | None = None
    """The folder to link from, where the picture stays in place; None copies it."""


ImageInput: TypeAlias = UploadedImage | LocalImage


@dataclasses.dataclass(frozen=True, kw_only=True)
class ItemRecord:
    """An item as it comes in. None means "not given": keep what the item has; "" and () clear."""

    item_id: str | None = None
    title: str | None = None
    caption: str | None = None
    tags: tuple[str, ...] | None = None
    category: str | None = None
    image: ImageInput | None = None
    remove_image: bool = False
    """The picture that the item has goes, unless another one is given."""
    dataset: int | None = None
    """Primary key of the data set that the item now belongs to."""
    line: int | None = None
    """Where in its source the record begins, from 1."""
    must_exist: bool = False
    """Only change an item that is there; never make one."""
    note: str = ""
    """What was odd about how it came in, for people."""


class OutcomeKind(enum.StrEnum):
    NEW = "new"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    REJECTED = "rejected"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a record."""

    kind: OutcomeKind
    item_id: str = ""
    pk: int | None = None
    line: int | None = None
    reason: str = ""
    """Why it was rejected, for people."""
    field: str = ""
    """Which input field is at fault: item_id, title, caption, tags, category or image."""
    note: str = ""
    """What was odd about the record, for people."""
    too_large: bool = False
    """The picture has more bytes than allowed: HTTP 413 rather than 400."""
    missing: bool = False
    """The item had to exist and does not: HTTP 404 rather than 400."""
    busy: bool = False
    """There was no memory to decode the picture just then: HTTP 503, try again."""


def rejected(
    reason: str, *, line: int | None = None, item_id: str = "", field: str = ""
) -> Outcome:
    """The outcome of a record that cannot be taken in."""
    return Outcome(
        kind=OutcomeKind.REJECTED,
        # What cannot be encoded cannot be reported either.
        item_id=_SURROGATE.sub("�", item_id)[:200],
        line=line,
        reason=_SURROGATE.sub("�", reason),
        field=field,
    )


def clean(record: ItemRecord) -> ItemRecord:
    """The record with spaces trimmed and an id. Raises InvalidField."""
    return dataclasses.replace(
        record,
        item_id=_clean_item_id(record.item_id),
        title=_clean_text("title", record.title, _max_length("title")),
        caption=_clean_text("caption", record.caption, settings.MMSEARCH_MAX_CAPTION_LENGTH),
        category=_clean_text("category", record.category, _max_length("category")),
        tags=_clean_tags(record.tags),
    )


def split_tags(text: str) -> tuple[str, ...]:
    """Comma-separated tags; blank ones fall out."""
    return tuple(tag for part in text.split(",") if (tag := part.strip()))


def content_id(*parts: str) -> str:
    """An item id made from content: equal rows get equal ids, so running again changes nothing."""
    digest = hashlib.sha256("\x1f".join(parts).encode(errors="surrogatepass")).hexdigest()
    return f"item_{digest[:20]}"


def path_id(relative: str) -> str:
    """An item id made from a relative path: `cats/tabby.jpg` becomes `cats:tabby.jpg`.

    Where characters had to go, or it is too long, a digest keeps it unique.
    """
    limit = _max_length("item_id")
    item_id = re.sub(r"[\x00-\x1f\x7f\\?#%]", "_", relative.replace("/", ":")).strip()
    if item_id.replace(":", "/") == relative and len(item_id) <= limit and ":" not in relative:
        return item_id
    digest = hashlib.sha256(relative.encode(errors="surrogatepass")).hexdigest()[:12]
    return f"{item_id[: limit - 13].strip()}~{digest}"


def decode_base64(text: str) -> bytes:
    """The bytes of a base64 picture, with or without `data:…;base64,`. Raises InvalidField."""
    _, _, payload = text.rpartition("base64,") if text.startswith("data:") else ("", "", text)
    if len(payload) * 3 // 4 > settings.MMSEARCH_MAX_UPLOAD_BYTES + 2:
        limit = settings.MMSEARCH_MAX_UPLOAD_BYTES / 2**20
        raise InvalidField("image", f"The picture is larger than {limit:g} MiB, the limit.")
    try:
        return base64.b64decode("".join(payload.split()), validate=True)
    except ValueError as exc:
        raise InvalidField("image", f"The picture is not valid base64: {exc}.") from exc


def _clean_item_id(value: str | None) -> str:
    text = _clean_text("item_id", value, _max_length("item_id"))
    if not text:
        return f"item_{uuid.uuid4().hex[:20]}"
    if re.fullmatch(ITEM_ID_PATTERN, text) is None:
        raise InvalidField(
            "item_id",
            f"The item id {text!r} holds a control character or one of / \\ ? # %, or is only dots."
            " It stands in web addresses: use letters, digits and - _ . : instead.",
        )
    return text


def _clean_tags(tags: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if tags is None:
        return None
    limit = _max_length("name", Tag)
    cleaned = (_clean_text("tags", tag, limit) for tag in tags)
    unique = tuple(dict.fromkeys(tag for tag in cleaned if tag))
    if len(unique) > MAX_TAGS:
        raise InvalidField("tags", f"There are {len(unique)} tags; {MAX_TAGS} is the limit.")
    return unique


def _clean_text(field: str, value: str | None, max_length: int) -> str | None:
    if value is None:
        return None
    text = value.strip()
    what = "a tag" if field == "tags" else f"the {field.replace('_', ' ')}"
    if "\x00" in text:
        raise InvalidField(
            field, f"Character {text.index(chr(0)) + 1} of {what} is a null byte: remove it."
        )
    if broken := _SURROGATE.search(text):
        raise InvalidField(
            field,
            f"Character {broken.start() + 1} of {what} cannot be read as text: save it as UTF-8.",
        )
    if len(text) > max_length:
        raise InvalidField(
            field,
            f"{what[0].upper()}{what[1:]} has {len(text):,} characters; {max_length:,} is the"
            " limit. Shorten it.",
        )
    return text


def _max_length(field: str, model: type[Item | Tag] = Item) -> int:
    return getattr(model._meta.get_field(field), "max_length", 0)
