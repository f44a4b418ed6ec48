"""One row of a data set, whatever it was written in, as a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from catalog.ingest.folders import ImageFolder
from catalog.ingest.records import (
    ImageInput,
    InvalidField,
    ItemRecord,
    Outcome,
    content_id,
    rejected,
    split_tags,
)

IMAGE_KEYS: Final = ("image_filename", "file_name", "filename")
"""Names under which a row may name its picture, best first."""
KEYS: Final = frozenset(
    {"id", "item_id", "title", "caption", "tags", "category", "image", *IMAGE_KEYS}
)
"""What a row may say."""
_GATHERED: Final = 50
"""Keys that are gathered of a file."""
_KINDS: Final = {bool: "true or false", list: "a list", dict: "an object"}


def to_record(
    row: Mapping[str, object],
    *,
    line: int,
    image: Callable[[Mapping[str, object]], tuple[ImageInput | None, str]],
) -> ItemRecord | Outcome:
    """The row as a record, or as a rejected outcome that names the field.

    `image` finds the row's picture and what identifies it. A row without id gets one made from its
    picture, caption and title, so that the same row is the same item on the next run.
    """
    item_id: str | None = None
    try:
        item_id = _item_id(row)
        title = text(row, "title")
        caption = text(row, "caption")
        picture, identity = image(row)
        return ItemRecord(
            item_id=item_id or content_id(identity, caption or "", title or ""),
            title=title,
            caption=caption,
            tags=_tags(row.get("tags")),
            category=text(row, "category"),
            image=picture,
            line=line,
        )
    except InvalidField as exc:
        return rejected(exc.reason, line=line, item_id=item_id or "", field=exc.field)


class LeftOut:
    """Keys of a file's rows that mean nothing here, gathered to be told once."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}

    def add(self, row: Mapping[str, object]) -> None:
        """Gather those of a row; some are enough."""
        if len(self._names) < _GATHERED:
            self._names.update(dict.fromkeys(row.keys() - KEYS))

    def notices(self) -> list[str]:
        """What to tell."""
        return left_out("Keys", sorted(self._names))


def left_out(what: str, names: Sequence[str]) -> list[str]:
    """The notice that nothing is made of these; none where there are none."""
    told = ", ".join(names)[:300]
    return [f"{what} that are not known are left out: {told}."] if names else []


def text(row: Mapping[str, object], key: str, field: str | None = None) -> str | None:
    """A text of the row; a blank one counts as not given. Raises InvalidField for other types."""
    value = row.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidField(field or key, f"{key} has to be a text, not {_kind(value)}.")
    return value if value.strip() else None


def image_name(row: Mapping[str, object]) -> str | None:
    """The name that a row gives its picture. Raises InvalidField."""
    key = next((key for key in IMAGE_KEYS if row.get(key) is not None), IMAGE_KEYS[0])
    return text(row, key, "image")


def named_image(row: Mapping[str, object], folder: ImageFolder) -> tuple[ImageInput | None, str]:
    """The picture in `folder` that a row of a file names. Raises InvalidField."""
    if row.get("image"):
        raise InvalidField("image", "A file names its pictures: use image_filename.")
    name = image_name(row)
    return (folder.find(name), name) if name else (None, "")


def _item_id(row: Mapping[str, object]) -> str | None:
    key = "item_id" if "item_id" in row else "id"
    value = row.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return text(row, key, "item_id")


def _tags(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, str):
        return split_tags(value) or None
    if isinstance(value, list) and all(isinstance(tag, str) for tag in value):
        return tuple(tag for tag in value if tag.strip()) or None
    raise InvalidField("tags", "tags has to be a list of texts, or one text with commas.")


def _kind(value: object) -> str:
    return _KINDS.get(type(value), "a number")
