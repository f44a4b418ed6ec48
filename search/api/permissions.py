"""Who may use the API."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest
from rest_framework.exceptions import NotAuthenticated, PermissionDenied
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from search.visitors import is_open, proxy_header

if TYPE_CHECKING:  # it imports this module
    from rest_framework.views import APIView


class OpenOrAuthenticated(BasePermission):
    """Everyone where the API is open to the request, else whoever logged in or sent a token.

    An open API is refused to the scripts and forms of other web sites: their visitor's browser
    reaches this host where their authors do not. Programs send no such headers and always pass.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:  # noqa: ARG002
        if is_open(request._request):  # noqa: SLF001
            if request.method not in SAFE_METHODS and is_cross_site(request._request):  # noqa: SLF001
                raise PermissionDenied("A page of another site may not use this API.")
            return True
        if request.user and request.user.is_authenticated:
            return True
        if settings.MMSEARCH_API_AUTH == "open":
            raise NotAuthenticated(
                f"This came through a proxy ({proxy_header(request._request)}), and the API is open"  # noqa: SLF001
                " to this machine alone. Log in, or see MMSEARCH_ALLOW_ANONYMOUS_WRITES."
            )
        return False


def is_cross_site(request: HttpRequest) -> bool:
    """Whether a browser says that a page of another origin made this request.

    `Sec-Fetch-Site` decides where the browser sends it, else `Origin` against `Host`;
    `CSRF_TRUSTED_ORIGINS` are let in.
    """
    origin = request.headers.get("Origin", "")
    if origin and origin in settings.CSRF_TRUSTED_ORIGINS:
        return False
    if fetch_site := request.headers.get("Sec-Fetch-Site"):
        return fetch_site not in {"same-origin", "none"}
    return bool(origin) and _network_location(origin) != request.get_host()


def _network_location(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # an unbalanced bracket
        return ""
