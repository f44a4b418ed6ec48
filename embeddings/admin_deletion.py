"""Deleting items in the admin: any number, in short transactions, and the demo in one act."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.admin.options import get_content_type_for_model
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from catalog.deletion import delete_items, demo_items
from catalog.models import Item

if TYPE_CHECKING:
    _ItemAdmin = admin.ModelAdmin[Item]
else:  # Django's classes are generic to the type checker alone
    _ItemAdmin = admin.ModelAdmin

NAMED: Final = 20
"""Items that the question names; of the others it gives the number."""
LIST: Final = "admin:catalog_item_changelist"


class ItemDeletion(_ItemAdmin):
    """The actions of the item list that delete."""

    change_list_template = "admin/catalog/item/change_list.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.remove_demo)
        return [path("remove-demo/", view, name="catalog_item_remove_demo"), *super().get_urls()]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        has_demo = self.has_delete_permission(request) and demo_items().exists()
        return super().changelist_view(request, {**(extra_context or {}), "has_demo": has_demo})

    @admin.action(description="Delete selected items", permissions=["delete"])
    def delete_selected(
        self, request: HttpRequest, queryset: QuerySet[Item]
    ) -> HttpResponse | None:
        """Ask, then delete; `select_across` stands for the list as it was when it was asked."""
        across = request.POST.get("select_across") == "1"
        if request.POST.get("post"):
            if across:  # what came since was not shown
                queryset = queryset.filter(pk__lte=_key(request.POST.get("newest")))
            self._delete(request, queryset)
            return None
        newest = queryset.order_by("-pk").values_list("pk", flat=True).first() or 0
        fields = [("action", "delete_selected")]
        if across:
            fields += [("select_across", "1"), ("newest", str(newest))]
        fields += [
            (ACTION_CHECKBOX_NAME, key)
            for key in request.POST.getlist(ACTION_CHECKBOX_NAME)[: 1 if across else None]
        ]
        return self._ask(request, queryset, "Delete items", fields)

    def remove_demo(self, request: HttpRequest) -> HttpResponse:
        """Ask, then delete what is left of the demo catalogue."""
        if not self.has_delete_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            return self._ask(request, demo_items(), "Remove the demo", [])
        self._delete(request, demo_items())
        return redirect(LIST)

    def _ask(
        self,
        request: HttpRequest,
        items: QuerySet[Item],
        title: str,
        fields: list[tuple[str, str]],
    ) -> HttpResponse:
        count = items.count()
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "count": count,
            "named": [str(item) for item in items[:NAMED]],
            "others": max(count - NAMED, 0),
            "fields": [*fields, ("post", "yes")],
        }
        return TemplateResponse(request, "admin/catalog/item/delete_items.html", context)

    def _delete(self, request: HttpRequest, items: QuerySet[Item]) -> None:
        """Delete, say how many, and write it down: by name where there are no more than a page."""
        few = items.count() <= self.list_per_page
        if few:
            self.log_deletions(request, items)
        count = sum(delete_items(items))
        if not few:
            LogEntry.objects.create(
                user_id=request.user.pk or 0,
                content_type_id=get_content_type_for_model(Item).pk,
                object_repr=f"{count:,} items",
                action_flag=DELETION,
            )
        said = f"Successfully deleted {count:,} item{'' if count == 1 else 's'}."
        self.message_user(request, said, messages.SUCCESS)


def _key(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else 0
