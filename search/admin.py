"""API keys in the admin: made, shown once, and revoked by deleting them."""

from __future__ import annotations

from copy import copy
from typing import Any

from django.contrib import admin, messages
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from rest_framework.authtoken.admin import TokenAdmin
from rest_framework.authtoken.models import TokenProxy

from search import admin_spaces  # noqa: F401  it registers
from search.api.tokens import issue_key

admin.site.unregister(TokenProxy)


@admin.register(TokenProxy)
class ApiKeyAdmin(TokenAdmin):
    """REST framework's, which would show and log the keys."""

    list_display = ("user", "created")
    autocomplete_fields = ("user",)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:  # noqa: ARG002
        return False

    def save_model(self, request: HttpRequest, obj: TokenProxy, form: Any, change: bool) -> None:  # noqa: ARG002
        key = issue_key(obj.user)
        self.message_user(
            request,
            f"The API key of {obj.user} is {key} – copy it now: it is shown this once.",
            messages.SUCCESS,
        )

    def response_add(
        self,
        request: HttpRequest,  # noqa: ARG002
        obj: TokenProxy,  # noqa: ARG002
        post_url_continue: str | None = None,  # noqa: ARG002
    ) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:authtoken_tokenproxy_changelist"))

    def log_addition(self, request: HttpRequest, obj: TokenProxy, message: Any) -> Any:
        return super().log_addition(request, _named(obj), message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        named: Any = [_named(token) for token in queryset]
        return super().log_deletions(request, named)

    def response_delete(self, request: HttpRequest, obj_display: str, obj_id: int) -> HttpResponse:  # noqa: ARG002
        return super().response_delete(request, "API key", obj_id)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:  # noqa: ARG002
        names = [str(_named(token)) for token in objs]
        return names, {"API keys": len(names)}, set(), []


def _named(token: TokenProxy) -> TokenProxy:
    """The token under a name for people and the admin's log, which write down its key."""
    named = copy(token)
    named.key = f"API key of {token.user}"
    return named
