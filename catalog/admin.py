"""Tags in the admin. Items are in `embeddings.admin`: their state and actions come from there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from catalog.models import LinkedFolder, Tag

if TYPE_CHECKING:
    _TagAdmin = admin.ModelAdmin[Tag]
    _FolderAdmin = admin.ModelAdmin[LinkedFolder]
else:  # Django's classes are generic to the type checker alone
    _TagAdmin = _FolderAdmin = admin.ModelAdmin


@admin.register(Tag)
class TagAdmin(_TagAdmin):
    list_display = ("name", "item_count")
    search_fields = ("name",)
    ordering = ("name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Tag]:
        return super().get_queryset(request).annotate(counted=Count("items"))

    @admin.display(description="items", ordering="counted")
    def item_count(self, tag: Tag) -> int:
        return tag.counted  # type: ignore[attr-defined, no-any-return]  # annotated


@admin.register(LinkedFolder)
class LinkedFolderAdmin(_FolderAdmin):
    """Folders whose pictures are served in place; loads with `--link` add them.

    Deleting one stops the serving of its pictures at once. None is added or changed here: which
    files of the machine are read is for who works on the machine.
    """

    list_display = ("path",)
    search_fields = ("path",)
    ordering = ("path",)

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(
        self,
        request: HttpRequest,  # noqa: ARG002
        obj: LinkedFolder | None = None,  # noqa: ARG002
    ) -> bool:
        return False
