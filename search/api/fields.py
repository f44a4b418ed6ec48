"""Serializer fields that REST framework does not have."""

from __future__ import annotations

import io
from datetime import datetime
from typing import IO, Any, Final

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict
from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_aware, make_aware
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.fields import empty

from catalog.ingest.records import MAX_TAGS, InvalidField, decode_base64, split_tags
from search.answer.syntax import moment_of
from search.api.errors import PayloadTooLarge

MAX_TAG_LENGTH: Final = 100


class Text(serializers.CharField):
    """A string that was sent as one: no number is taken for text."""

    def run_validation(self, data: Any = empty) -> Any:
        if data is not empty and data is not None and not isinstance(data, str):
            self.fail("invalid")
        return super().run_validation(data)


@extend_schema_field({"type": "array", "items": {"type": "string"}})
class Texts(serializers.Field[tuple[str, ...], Any, Any, Any]):
    """Texts as a list, as one string, or as a repeated parameter."""

    default_error_messages = {  # noqa: RUF012  REST framework's own shape
        "invalid": "Give a string or a list of strings.",
        "too_many": "At most {limit} are accepted, not {count}.",
    }
    _text = Text(max_length=200)

    def get_value(self, dictionary: Any) -> Any:
        if isinstance(dictionary, QueryDict):
            return dictionary.getlist(self.field_name or "") or empty
        return super().get_value(dictionary)

    def to_internal_value(self, data: Any) -> tuple[str, ...]:
        texts = [data] if isinstance(data, str) else data
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            self.fail("invalid")
        if len(texts) > MAX_TAGS:
            self.fail("too_many", limit=MAX_TAGS, count=len(texts))
        return tuple(dict.fromkeys(self._text.run_validation(text) for text in texts if text))

    def to_representation(self, value: Any) -> list[str]:
        return list(value)


@extend_schema_field({"type": "string", "example": "2024-05-31"})
class Moment(serializers.Field[datetime, Any, Any, Any]):
    """A point in time: the beginning of a year, month or day, or an ISO date and time."""

    default_error_messages = {  # noqa: RUF012  REST framework's own shape
        "invalid": "Give a date like 2024, 2024-05 or 2024-05-31, or an ISO date and time.",
    }

    def to_internal_value(self, data: Any) -> datetime:
        text = data if isinstance(data, str) else ""
        try:
            moment = moment_of(text) or parse_datetime(text)
        except ValueError:  # well formed, but no such time
            moment = None
        if moment is None:
            self.fail("invalid")
        return moment if is_aware(moment) else make_aware(moment)

    def to_representation(self, value: Any) -> str:
        return str(value.isoformat())


@extend_schema_field({"type": "array", "items": {"type": "string"}, "example": ["fruit", "red"]})
class Tags(serializers.Field[tuple[str, ...], Any, Any, Any]):
    """Tags as a list, as one string with commas, or as a repeated parameter of either kind."""

    default_error_messages = {  # noqa: RUF012  REST framework's own shape
        "invalid": "Give tags as a list of strings or as one string with commas.",
        "too_many": "At most {limit} tags are accepted, not {count}.",
    }
    _tag = Text(max_length=MAX_TAG_LENGTH)

    def get_value(self, dictionary: Any) -> Any:
        if isinstance(dictionary, QueryDict):
            return dictionary.getlist(self.field_name or "") or empty
        return super().get_value(dictionary)

    def to_internal_value(self, data: Any) -> tuple[str, ...]:
        texts = [data] if isinstance(data, str) else data
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            self.fail("invalid")
        words = [word for text in texts for word in split_tags(text)]
        tags = dict.fromkeys(self._tag.run_validation(word) for word in words)
        if len(tags) > MAX_TAGS:
            self.fail("too_many", limit=MAX_TAGS, count=len(tags))
        return tuple(tags)

    def to_representation(self, value: Any) -> list[str]:
        return list(value)


@extend_schema_field({"type": "string", "format": "binary"})
class Picture(serializers.Field[IO[bytes], Any, Any, Any]):
    """A file of a form. Empty text, which a form sends for no file, counts as not given.

    Only the size is judged here, 413 above `MMSEARCH_MAX_UPLOAD_BYTES`: what the bytes are is for
    the catalogue to say.
    """

    default_error_messages = {  # noqa: RUF012  REST framework's own shape
        "invalid": "Send the picture as a file of a multipart form.",
        "empty": "The picture has no bytes.",
    }

    def get_value(self, dictionary: Any) -> Any:
        value = super().get_value(dictionary)
        return empty if value == "" else value

    def to_internal_value(self, data: Any) -> IO[bytes]:
        if not isinstance(data, UploadedFile):
            self.fail("invalid")
        self.check_size(data.size or 0)
        return data

    def to_representation(self, value: Any) -> Any:
        raise NotImplementedError("A picture is only read; answers give its address.")

    def check_size(self, size: int) -> None:
        limit: int = settings.MMSEARCH_MAX_UPLOAD_BYTES
        if size > limit:
            raise PayloadTooLarge(
                f"The picture has {size:,} bytes; at most {limit:,} are accepted."
            )
        if not size:
            self.fail("empty")


@extend_schema_field({"type": "string", "format": "byte"})
class PictureOrBase64(Picture):
    """A file of a form, or in JSON the file as base64 (a `data:` URL will do)."""

    default_error_messages = {  # noqa: RUF012  REST framework's own shape
        "invalid": "Send the picture as a file of a multipart form, or as base64.",
    }

    def to_internal_value(self, data: Any) -> IO[bytes]:
        if not isinstance(data, str):
            return super().to_internal_value(data)
        try:
            decoded = decode_base64(data)
        except InvalidField as exc:
            raise serializers.ValidationError(exc.reason) from exc
        self.check_size(len(decoded))
        return io.BytesIO(decoded)
