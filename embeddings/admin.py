"""Items with their state, the queue, and the spaces of vectors."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin, messages
from django.contrib.admin.options import BaseModelAdmin
from django.db.models import F, Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from django.utils.safestring import SafeString

from catalog.ingest import OutcomeKind, ingest_one
from catalog.models import Item
from embeddings import jobs
from embeddings.admin_deletion import ItemDeletion
from embeddings.admin_forms import ItemForm
from embeddings.models import EmbeddingJob
from embeddings.states import ItemState, in_state, with_state

if TYPE_CHECKING:
    _RowAdmin = admin.ModelAdmin[Any]
else:  # Django's classes are generic to the type checker alone
    _RowAdmin = admin.ModelAdmin

NOTHING: Final = "–"


class RefusedMeanwhile(Exception):  # noqa: N818  what happened, not an error
    """An item passed the dry run, and was refused a moment later."""


class StateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(
        self,
        request: HttpRequest,  # noqa: ARG002  Django's signature
        model_admin: BaseModelAdmin[Any],  # noqa: ARG002
    ) -> list[tuple[str, str]]:
        return [(state.value, state.value) for state in ItemState]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Item]) -> QuerySet[Item]:  # noqa: ARG002
        state = self.value()
        if state not in set(ItemState):
            return queryset
        return in_state(queryset, ItemState(state))


@admin.register(Item)
class ItemAdmin(ItemDeletion):
    form = ItemForm
    list_display = ("thumbnail", "name", "item_id", "category", "tag_names", "state", "added")
    list_display_links = ("thumbnail", "name")
    list_filter = (StateFilter, "category", "created_at")
    list_per_page = 50
    search_fields = ("item_id", "title", "caption")
    search_help_text = "Words in id, title or caption. By meaning, search on the search page."
    show_full_result_count = False
    ordering = ("-pk",)
    autocomplete_fields = ("tags",)
    actions = ("re_embed", "retry_failed", "delete_selected")
    editable = ("item_id", "title", "caption", "category", "tags", "image")
    facts = (
        "picture",
        "state",
        "error",
        "size",
        "original_filename",
        "added",
        "changed",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Item]:
        return with_state(super().get_queryset(request)).prefetch_related("tags")

    def get_fieldsets(self, request: HttpRequest, obj: Item | None = None) -> Any:  # noqa: ARG002
        if obj is None:
            return [(None, {"fields": self.editable})]
        clear = ("remove_image",) if obj.image else ()
        return [
            (None, {"fields": (*self.editable, *clear)}),
            ("Facts", {"fields": self.facts}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Item | None = None) -> Any:  # noqa: ARG002
        return () if obj is None else ("item_id", *self.facts)

    @admin.display(description="")
    def thumbnail(self, item: Item) -> SafeString | str:
        return _image(item, css_class="mm-thumbnail")

    @admin.display(description="picture")
    def picture(self, item: Item) -> SafeString | str:
        return _image(item, css_class="mm-picture")

    @admin.display(description="title or caption", ordering="title")
    def name(self, item: Item) -> str:
        return str(item)

    @admin.display(description="tags")
    def tag_names(self, item: Item) -> str:
        return ", ".join(tag.name for tag in item.tags.all())

    @admin.display(ordering="state")
    def state(self, item: Item) -> SafeString:
        state: str = item.state  # type: ignore[attr-defined]  # annotated
        return format_html('<span class="mm-state mm-{}">{}</span>', state, state)

    @admin.display(description="reason")
    def error(self, item: Item) -> str:
        return item.error or NOTHING  # type: ignore[attr-defined]  # annotated

    @admin.display
    def size(self, item: Item) -> str:
        return f"{item.width} × {item.height} pixels" if item.width else NOTHING

    @admin.display(ordering="created_at")
    def added(self, item: Item) -> SafeString:
        return _time(item.created_at)

    @admin.display(ordering="updated_at")
    def changed(self, item: Item) -> SafeString:
        return _time(item.updated_at)

    @admin.action(description="Embed again", permissions=["change"])
    def re_embed(self, request: HttpRequest, queryset: QuerySet[Item]) -> None:
        count = jobs.re_embed(_keys(queryset))
        self.message_user(request, f"Embedding again: {count:,} items.", messages.SUCCESS)

    @admin.action(description="Retry failed", permissions=["change"])
    def retry_failed(self, request: HttpRequest, queryset: QuerySet[Item]) -> None:
        count = jobs.retry_failed(_keys(queryset))
        self.message_user(request, f"Trying again: {count:,} failed items.", messages.SUCCESS)

    def save_model(self, request: HttpRequest, obj: Item, form: Any, change: bool) -> None:  # noqa: ARG002
        """Ingest the item as every other input does, and take over the row that came of it."""
        outcome = ingest_one(form.record())
        if outcome.kind is OutcomeKind.REJECTED:
            raise RefusedMeanwhile(outcome.reason)
        obj.pk = outcome.pk
        obj.refresh_from_db()

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except RefusedMeanwhile as exc:
            self.message_user(request, str(exc), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:  # noqa: ARG002
        """Name the items alone: vectors and jobs are part of them, and may be very many."""
        names = [str(item) for item in objs]
        return names, {"items": len(names)}, set(), []

    def view_on_site(self, obj: Item) -> str:
        return obj.get_absolute_url()


class ReadOnlyAdmin(_RowAdmin):
    """Rows that the system writes; people look, and start actions."""

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:  # noqa: ARG002
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:  # noqa: ARG002
        return False


class FailedFilter(admin.SimpleListFilter):
    title = "progress"
    parameter_name = "progress"

    def lookups(
        self,
        request: HttpRequest,  # noqa: ARG002  Django's signature
        model_admin: BaseModelAdmin[Any],  # noqa: ARG002
    ) -> list[tuple[str, str]]:
        return [("failed", "failed"), ("waiting", "waiting or in work")]

    def queryset(
        self,
        request: HttpRequest,  # noqa: ARG002
        queryset: QuerySet[EmbeddingJob],
    ) -> QuerySet[EmbeddingJob]:
        if self.value() in {"failed", "waiting"}:
            return queryset.filter(failed_at__isnull=self.value() == "waiting")
        return queryset


@admin.register(EmbeddingJob)
class EmbeddingJobAdmin(ReadOnlyAdmin):
    list_display = ("item", "progress", "error", "attempts", "run_after", "space")
    list_filter = (FailedFilter, "space")
    list_select_related = ("item", "space")
    search_fields = ("item__item_id", "error")
    show_full_result_count = False
    ordering = (F("failed_at").desc(nulls_last=True), "pk")  # databases differ on nulls
    actions = ("retry",)

    @admin.display(ordering=F("failed_at").asc(nulls_first=True))
    def progress(self, job: EmbeddingJob) -> str:
        if job.failed_at:
            return "failed"
        return "in work" if job.claimed_by else "waiting"

    @admin.action(description="Retry failed", permissions=["view"])
    def retry(self, request: HttpRequest, queryset: QuerySet[EmbeddingJob]) -> None:
        count = jobs.retry_failed(list(queryset.values_list("item_id", flat=True)))
        self.message_user(request, f"Trying again: {count:,} failed items.", messages.SUCCESS)


def _image(item: Item, *, css_class: str) -> SafeString | str:
    if item.preview_file is None:
        return NOTHING
    return format_html(
        '<img class="{}" src="{}" alt="" loading="lazy">', css_class, item.preview_file.url
    )


def _time(moment: datetime) -> SafeString:
    """A time that a script tells in the zone of whoever looks."""
    return format_html(
        '<time datetime="{}">{} UTC</time>', moment.isoformat(), f"{moment:%Y-%m-%d %H:%M}"
    )


def _keys(items: QuerySet[Item]) -> list[int]:
    return list(items.values_list("pk", flat=True))
