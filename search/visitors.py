"""Whether strangers may use the API and the pages."""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.http import HttpRequest

PROXY_HEADERS: Final = (
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Real-IP",
    "Via",
)


def is_open(request: HttpRequest) -> bool:
    """Whether this request needs no login.

    One that came through a proxy does, whatever `MMSEARCH_API_AUTH=open` meant for loopback: its
    sender may be anybody. Only `MMSEARCH_ALLOW_ANONYMOUS_WRITES=1` invites these.
    """
    if settings.MMSEARCH_API_AUTH != "open":
        return False
    return settings.MMSEARCH_ALLOW_ANONYMOUS_WRITES or not proxy_header(request)


def proxy_header(request: HttpRequest) -> str:
    """The header that tells of a proxy on the way, or ""."""
    return next((name for name in PROXY_HEADERS if name in request.headers), "")
