"""Token and session logins, asked for only where the API requires a login.

In open mode neither class looks at the request: a client with an old cookie or a stray
`Authorization` header costs no query and meets no CSRF check.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from rest_framework import authentication
from rest_framework.request import Request


class Token(authentication.TokenAuthentication):
    """`Authorization: Token <key>`, in required mode."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        return super().authenticate(request) if settings.MMSEARCH_API_AUTH == "required" else None


class Session(authentication.SessionAuthentication):
    """The browser's login, with Django's CSRF check, in required mode."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        return super().authenticate(request) if settings.MMSEARCH_API_AUTH == "required" else None
