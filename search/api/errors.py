"""Errors as JSON: `{"field": ["message"]}` for input, `{"detail": "message"}` for the rest."""

from __future__ import annotations

import logging
import sys
from typing import Any

from django.core.exceptions import DisallowedHost, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError, connection
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponsePermanentRedirect,
    JsonResponse,
    UnreadablePostError,
)
from django.template.loader import render_to_string
from django.urls import Resolver404, resolve
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt
from rest_framework.exceptions import APIException, ParseError, ValidationError
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.views import exception_handler as rest_exception_handler

from catalog.storage import is_disk_full, why_not_stored
from embeddings.encoders.base import EncoderError
from embeddings.spaces import SpaceError
from search.answer.query import QueryError
from search.index.stores.remote.engine import StoreUnavailable

logger = logging.getLogger(__name__)

DATABASE_AWAY = "The database does not answer. The same request may succeed in a moment."


class PayloadTooLarge(APIException):
    """413: the body, or the image in it, has too many bytes."""

    status_code = 413
    default_code = "too_large"


class EncodingFailed(APIException):
    """500: the encoder could not make a vector (the status that `/search_text/` promises)."""

    status_code = 500
    default_code = "encoding_failed"


class EncoderUnavailable(APIException):
    """503: the same where nothing else was promised, or the model's index is not open yet."""

    status_code = 503
    default_code = "encoder_unavailable"


class Busy(APIException):
    """503: what it needs is all in use, or away; the same request may succeed later."""

    status_code = 503
    default_code = "busy"
    wait = 5
    """Seconds; REST framework makes the header Retry-After of it."""


class Conflict(APIException):
    """409: the item is there, but not in the state that the request needs."""

    status_code = 409
    default_code = "conflict"


def refuse(field: str, message: str) -> ValidationError:
    """The 400 that names the input field at fault."""
    return ValidationError({field or "non_field_errors": [message]})


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """What REST framework answers, and our own errors and Django's refusals as JSON too.

    Anything else is a bug: it is left to Django, which logs it and answers 500.
    """
    response = rest_exception_handler(_translated(exc, context), context)
    if response is not None:
        response.data = _printable(response.data)
    return response


def _translated(exc: Exception, context: dict[str, Any]) -> Exception:
    if isinstance(exc, QueryError):
        names: dict[str, str] = getattr(context.get("view"), "query_field_names", {})
        return refuse(names.get(exc.field, exc.field), exc.message)
    if isinstance(exc, EncoderError):
        logger.error("Encoding failed", exc_info=exc)
        failed = getattr(context.get("view"), "encoding_error", EncoderUnavailable)
        return failed(f"The query could not be encoded: {exc}")
    if isinstance(exc, SpaceError):
        lacking = Busy if isinstance(exc, StoreUnavailable) else EncoderUnavailable
        return lacking(str(exc))
    if isinstance(exc, RequestDataTooBig):
        return PayloadTooLarge(str(exc))
    if isinstance(exc, (SuspiciousOperation, UnreadablePostError)):
        return ParseError(str(exc) or "The request cannot be read.")
    return exc


def _printable(data: Any) -> Any:
    """The same data without lone surrogates, which a message may quote and UTF-8 cannot say."""
    if isinstance(data, dict):
        return {_printable(key): _printable(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_printable(value) for value in data]
    if isinstance(data, str):
        return data.encode("utf-8", "backslashreplace").decode()
    return data


@csrf_exempt
def not_found(request: HttpRequest) -> HttpResponseBase:
    """Unknown addresses under /api/: JSON, or the way to the address with its closing slash."""
    if not request.path_info.endswith("/") and resolve(f"{request.path_info}/").func != not_found:
        return HttpResponsePermanentRedirect(
            request.get_full_path(force_append_slash=True), preserve_request=True
        )
    return JsonResponse({"detail": f"Nothing is served at {request.path}."}, status=404)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400 from before any view: a page or JSON; of a name that is not allowed with the mend."""
    if not isinstance(exception, DisallowedHost):
        if is_api(request):
            return JsonResponse({"detail": "The request cannot be read."}, status=400)
        return defaults.bad_request(request, exception)
    host = request.META.get("HTTP_HOST", "")
    name, _, port = host.rpartition(":")
    name = name if port.isdigit() else host
    if is_api(request):
        detail = f"This server does not answer to {host!r}. Add MMSEARCH_ALLOWED_HOSTS={name}"
        return JsonResponse({"detail": detail}, status=400)
    page = render_to_string("search/host_refused.html", {"host": host, "name": name})
    return HttpResponse(page, status=400)


def is_api(request: HttpRequest) -> bool:
    """Whether the address is one of the API's, answered or not."""
    try:
        match = request.resolver_match or resolve(request.path_info)
    except Resolver404:
        return False
    return match.func == not_found or issubclass(getattr(match.func, "cls", object), APIView)


def server_error(request: HttpRequest) -> HttpResponse:
    """500; 507 where the disk is full, 503 where the database or the pictures' place is away."""
    failure = sys.exception()
    refusal = DATABASE_AWAY if is_database_away(failure) else why_not_stored(failure)
    if refusal is not None:
        if is_disk_full(failure):
            return _refusal(request, refusal, status=507)
        response = _refusal(request, refusal, status=503)
        response["Retry-After"] = str(Busy.wait)
        return response
    if is_api(request):
        return JsonResponse({"detail": "The server failed; its log says why."}, status=500)
    return defaults.server_error(request)


def _refusal(request: HttpRequest, detail: str, *, status: int) -> HttpResponse:
    if is_api(request):
        return JsonResponse({"detail": detail}, status=status)
    return HttpResponse(detail, status=status, content_type="text/plain")


def is_database_away(exc: BaseException | None) -> bool:
    """Whether it is the database that fails, not what was asked of it."""
    if not isinstance(exc, (OperationalError, InterfaceError)):
        return False
    # SQLite calls it operational, too, where a statement is wrong.
    return connection.vendor != "sqlite" or "locked" in str(exc)
