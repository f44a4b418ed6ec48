"""Tags in the admin. Items are in `embeddings.admin`: their state and actions come from there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from catalog.models import Tag

if TYPE_CHECKING:
    _TagAdmin = admin.ModelAdmin[Tag]
else:  # Django's classes are generic to the type checker alone
    _TagAdmin = admin.ModelAdmin


@admin.register(Tag)
class TagAdmin(_TagAdmin):
    list_display = ("name", "items")
    search_fields = ("name",)
    ordering = ("name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Tag]:
        return super().get_queryset(request).annotate(item_count=Count("items"))

    @admin.display(ordering="item_count")
    def items(self, tag: Tag) -> int:
        return tag.item_count  # type: ignore[attr-defined, no-any-return]  # annotated
