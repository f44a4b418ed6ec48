"""The spaces in the admin: how far each is, and buttons to open, switch, roll back and retire."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from embeddings import openings, switching
from embeddings.admin import ReadOnlyAdmin
from embeddings.models import EmbeddingSpace, SpaceOpening
from embeddings.overview import progress
from embeddings.retiring import count_rows, half_freed, retire_space
from embeddings.spaces import SpaceError, find_space
from search.index.sizes import bytes_of
from search.templatetags.prose import prose

LIST = "admin:embeddings_embeddingspace_changelist"
CHANGE = "embeddings.change_embeddingspace"
RETIRE = "embeddings.delete_embeddingspace"


@admin.register(EmbeddingSpace)
class EmbeddingSpaceAdmin(ReadOnlyAdmin):
    """One page in place of a list; each button is a form that names what it does."""

    def get_urls(self) -> list[URLPattern]:
        act = self.admin_site.admin_view(self.act)
        own = [path("act/<str:action>/", act, name="embeddings_embeddingspace_act")]
        return own + super().get_urls()

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """What is kept, what is going on, and what can be done about it by this user."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            **(extra_context or {}),
            "title": "Spaces",
            "opts": self.opts,
            "spaces": [(each, bytes_of(each.space), _lacking(each.space)) for each in progress()],
            "openings": SpaceOpening.objects.all(),
            "wished": switching.outlook(),
            "former": _former(),
            "leaving": [(each, count_rows(each)) for each in half_freed()],
            "may_change": request.user.has_perm(CHANGE),
            "may_retire": request.user.has_perm(RETIRE),
        }
        return TemplateResponse(request, "admin/spaces.html", context)

    def act(self, request: HttpRequest, action: str) -> HttpResponse:
        """Do what a button says."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not request.user.has_perm(RETIRE if action == "retire" else CHANGE):
            raise PermissionDenied
        try:
            said = self._do(action, request)
        except SpaceError as exc:
            self.message_user(request, prose(str(exc)), messages.ERROR)
        else:
            self.message_user(request, said, messages.SUCCESS)
        return redirect(LIST)

    def _do(self, action: str, request: HttpRequest) -> str:
        model = request.POST.get("model", "").strip()
        if action == "forget":
            openings.forget_failed(model)
            return f"The model {model} is no longer asked for."
        if action == "open":
            if not model:
                raise SpaceError("Name a model: a hub name, a directory, or starter.")
            openings.ask(model)
            return f"The worker opens the space of {model}."
        if action == "rollback":
            space = switching.space_to_roll_back_to()
            self._switch(request, space)
            return f"Space {space.pk}, {space}, answers again in a moment."
        space = find_space(_number(request.POST.get("space")))
        if action == "activate":
            as_it_is = "as_it_is" in request.POST
            if not as_it_is:
                switching.refuse_incomplete(space)
            self._switch(request, space, incomplete_too=as_it_is)
            return f"Space {space.pk}, {space}, answers in a moment."
        if action == "retire":
            retire_space(space)
            self.log_deletions(request, EmbeddingSpace.objects.filter(pk=space.pk))
            return f"Space {space.pk}, {space}, is retired: the worker deletes what it holds."
        raise SpaceError(f"{action!r} is nothing that can be done with spaces.")

    def _switch(
        self, request: HttpRequest, space: EmbeddingSpace, *, incomplete_too: bool = False
    ) -> None:
        switching.wish(space, incomplete_too=incomplete_too)
        self.log_change(
            request, space, "Chosen to answer" + (" as it is." if incomplete_too else ".")
        )


def _lacking(space: EmbeddingSpace) -> int:
    """Items that could not be found any more if an incomplete space answered now."""
    if space.complete_since is not None or space.state == EmbeddingSpace.State.ACTIVE:
        return 0
    return switching.lacking_beside_active(space).count()


def _former() -> EmbeddingSpace | None:
    try:
        return switching.space_to_roll_back_to()
    except SpaceError:
        return None


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else 0
