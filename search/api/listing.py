"""Filters and order of the item list."""

from __future__ import annotations

from typing import Any, ClassVar

import django_filters
from django import forms
from django.core.validators import ProhibitNullCharactersValidator
from django.db.models import QuerySet
from django.utils.datastructures import MultiValueDict
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field

from catalog.ingest.records import split_tags
from catalog.models import Item, ItemQuerySet
from embeddings.states import ItemState


class TagsField(forms.Field):
    """Tags from a parameter that may be repeated or hold commas."""

    widget = forms.MultipleHiddenInput

    def to_python(self, value: Any) -> tuple[str, ...]:
        tags = tuple(tag for text in value or () for tag in split_tags(text))
        for tag in tags:
            ProhibitNullCharactersValidator()(tag)
        return tags


@extend_schema_field(OpenApiTypes.STR)
class TagsFilter(django_filters.Filter):  # type: ignore[misc]
    """Items that have all of the tags."""

    field_class = TagsField

    def filter(self, qs: ItemQuerySet, value: tuple[str, ...]) -> ItemQuerySet:
        return qs.with_tags(value or ())


class StableOrdering(django_filters.OrderingFilter):  # type: ignore[misc]
    """The order that was asked for, newest first among equals: pages neither skip nor repeat."""

    def filter(self, qs: QuerySet[Item], value: list[str] | None) -> QuerySet[Item]:
        if not value:
            return qs
        return qs.order_by(*(self.get_ordering_value(name) for name in value if name), "-pk")


class ItemFilters(django_filters.FilterSet):  # type: ignore[misc]
    category = django_filters.CharFilter(help_text="Only this category.")
    tag = TagsFilter(help_text="Only items with all of these tags; repeated or with commas.")
    state = django_filters.ChoiceFilter(
        choices=[(state.value, state.value) for state in ItemState],
        help_text="Only items in this state.",
    )
    ordering = StableOrdering(fields=["created_at", "updated_at", "title", "item_id"])

    class Meta:
        model = Item
        fields: ClassVar[list[str]] = []

    def __init__(self, data: Any = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(MultiValueDict() if data is None else data, *args, **kwargs)
