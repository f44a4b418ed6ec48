"""Token and session logins, asked for only where the API requires a login.

Where the API is open neither class looks at the request: a client with an old cookie or a stray
`Authorization` header costs no query and meets no CSRF check.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import authentication
from rest_framework.request import Request

from search.visitors import is_open


class Token(authentication.TokenAuthentication):
    """`Authorization: Token <key>`, where a login is needed."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        return None if is_open(request._request) else super().authenticate(request)  # noqa: SLF001


class Session(authentication.SessionAuthentication):
    """The browser's login, with Django's CSRF check, where a login is needed."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        return None if is_open(request._request) else super().authenticate(request)  # noqa: SLF001


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Tells the schema how the browser's login is sent."""

    target_class = "search.api.authentication.Session"
    name = "cookieAuth"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:  # noqa: ARG002
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}
