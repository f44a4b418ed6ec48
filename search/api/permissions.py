"""Who may use the API."""

from __future__ import annotations

from django.conf import settings
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView


class OpenOrAuthenticated(BasePermission):
    """Everyone where `MMSEARCH_API_AUTH=open`, else whoever logged in or sent a token."""

    def has_permission(self, request: Request, view: APIView) -> bool:  # noqa: ARG002
        return settings.MMSEARCH_API_AUTH == "open" or bool(
            request.user and request.user.is_authenticated
        )
