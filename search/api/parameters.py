"""Names that no one reads are refused: a misspelt filter filters nothing, its value is lost."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, ClassVar, Final

from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from catalog.spelling import unknown_names

CSRF: Final = "csrfmiddlewaretoken"
"""What a form of a page sends along."""


def refuse_unknown(request: Request, known: Iterable[str]) -> None:
    """Raise the 400 that names each unknown parameter of the address, and what was meant."""
    if unknown := unknown_names(request.query_params, {*known}):
        raise ValidationError(_errors(unknown, "parameter"))


class Fields(serializers.Serializer[Any]):
    """The fields of a body; what is none of them is an error, told with the other errors."""

    passed_over: ClassVar[Collection[str]] = ()
    """Names that may come along and mean nothing."""

    def to_internal_value(self, data: Any) -> Any:
        sent = {*data} - {CSRF, *self.passed_over} if isinstance(data, Mapping) else set()
        errors = _errors(unknown_names(sent, self.fields.keys()), "field")
        try:
            value = super().to_internal_value(data)
        except ValidationError as exc:
            others = exc.detail if isinstance(exc.detail, dict) else {}
            raise ValidationError({**others, **errors}) from exc
        if errors:
            raise ValidationError(errors)
        return value


def _errors(unknown: Mapping[str, str], what: str) -> dict[str, list[str]]:
    return {name: [f"There is no such {what}. {mend}"] for name, mend in unknown.items()}
