"""The OpenAPI document."""

from __future__ import annotations

import functools
import threading
from typing import Any, Final

from django.http import HttpResponse
from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.renderers import OpenApiJsonRenderer
from drf_spectacular.utils import Direction, extend_schema
from drf_spectacular.views import SpectacularJSONAPIView
from rest_framework.request import Request

_making: Final = threading.Lock()


class ClosedFields(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """Says of a body that it takes no fields but its own."""

    target_class = "search.api.parameters.Fields"
    match_subclasses = True

    def map_serializer(self, auto_schema: AutoSchema, direction: Direction) -> dict[str, Any]:
        mapped: dict[str, Any] = auto_schema._map_serializer(  # type: ignore[no-untyped-call]  # noqa: SLF001
            self.target, direction, bypass_extensions=True
        )
        return {**mapped, "additionalProperties": False}


class OpenApiDocument(SpectacularJSONAPIView):
    """Gives everybody the same document; parameters of the request change nothing."""

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:  # noqa: ARG002
        with _making:  # drf-spectacular loads its extensions while it works, and has no lock
            document = _made()
        return HttpResponse(document, content_type=OpenApiJsonRenderer.media_type)


@functools.cache
def _made() -> bytes:
    """Made once a process, for it takes a good part of a second."""
    schema = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    document: bytes = OpenApiJsonRenderer().render(schema)
    return document
