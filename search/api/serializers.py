"""What goes in and out of the API.

Search answers are built as plain dicts in `results`, which is several times cheaper; their
serializers here only describe them, and a test holds every answer against the schema.
"""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from catalog.models import Item, Tag
from embeddings.states import ItemState
from search.api import links
from search.api.fields import Picture, PictureOrBase64, Tags, Text
from search.api.parameters import Fields


class ItemSerializer(serializers.ModelSerializer[Item]):
    """An item as the API shows it; the queryset comes from `embeddings.states.with_state`."""

    tags = serializers.SlugRelatedField[Tag](slug_field="name", many=True, read_only=True)
    image_url = serializers.SerializerMethodField()
    thumbnail_url = serializers.SerializerMethodField()
    url = serializers.SerializerMethodField()
    state = serializers.ChoiceField(choices=[state.value for state in ItemState], read_only=True)
    error = serializers.CharField(read_only=True, help_text="Why it failed, where it failed.")

    class Meta:
        model = Item
        fields: ClassVar = [
            "item_id",
            "title",
            "caption",
            "tags",
            "category",
            "image_url",
            "thumbnail_url",
            "original_filename",
            "width",
            "height",
            "state",
            "error",
            "created_at",
            "updated_at",
            "url",
        ]
        read_only_fields = fields

    @extend_schema_field({"type": "string", "format": "uri", "nullable": True})
    def get_image_url(self, item: Item) -> str | None:
        return links.image_url(self.context["request"], item)

    @extend_schema_field({"type": "string", "format": "uri", "nullable": True})
    def get_thumbnail_url(self, item: Item) -> str | None:
        return links.thumbnail_url(self.context["request"], item)

    @extend_schema_field({"type": "string", "format": "uri"})
    def get_url(self, item: Item) -> str:
        return links.item_url(self.context["request"], item.item_id)


class ItemFields(Fields):
    """What a client says about an item. A part that is not given keeps its value.

    What else an answer says of an item may be sent back with it, and changes nothing.
    """

    passed_over = ItemSerializer.Meta.fields

    item_id = Text(
        required=False, max_length=200, help_text="Your own id; one is made where none is given."
    )
    title = Text(required=False, allow_blank=True, max_length=300)
    caption = Text(required=False, allow_blank=True)
    tags = Tags(required=False)
    category = Text(required=False, allow_blank=True, max_length=200)
    image = PictureOrBase64(
        required=False, allow_null=True, help_text="null removes the picture that the item has."
    )


class ItemForm(ItemFields):
    """The same as a multipart form."""

    image = Picture(required=False)  # type: ignore[assignment]


class StreamedItem(Fields):
    """The form of `/ingest_stream/`. A blank field counts as not given."""

    text_caption = Text(required=False, allow_blank=True)
    image_file = Picture(required=False)
    item_id = Text(required=False, allow_blank=True, max_length=200)
    title = Text(required=False, allow_blank=True, max_length=300)
    tags_str = Tags(required=False)
    category = Text(required=False, allow_blank=True, max_length=200)


class Accepted(serializers.Serializer[Any]):
    message = serializers.CharField()
    item_id = serializers.CharField()
    processing_time = serializers.FloatField(help_text="Seconds.")


class LegacyMetadata(serializers.Serializer[Any]):
    title = serializers.CharField()
    tags = serializers.CharField(help_text="Comma-separated.")
    category = serializers.CharField()
    original_filename = serializers.CharField()
    faiss_id = serializers.IntegerField(help_text="The item's key in the vector index.")


class LegacyResult(serializers.Serializer[Any]):
    id = serializers.CharField(help_text="The item's key in the database.")
    item_id = serializers.CharField()
    score = serializers.FloatField(help_text="Higher is better.")
    text = serializers.CharField(help_text="The caption.")
    image_path = serializers.CharField(help_text="Path below `/media/`; empty without a picture.")
    metadata = LegacyMetadata()


class LegacyResults(serializers.Serializer[Any]):
    results = LegacyResult(many=True)
    query_time = serializers.FloatField(help_text="Seconds.")


class BulkRecord(serializers.Serializer[Any]):
    """One line; the picture comes as base64. Left out means: keep what the item has."""

    item_id = Text(required=False, max_length=200)
    title = Text(required=False, allow_blank=True, max_length=300)
    caption = Text(required=False, allow_blank=True)
    tags = Tags(required=False)
    category = Text(required=False, allow_blank=True, max_length=200)
    image = PictureOrBase64(required=False)
    image_filename = Text(required=False, max_length=255)


class BulkOutcome(serializers.Serializer[Any]):
    """What became of one line."""

    line = serializers.IntegerField()
    item_id = serializers.CharField(allow_null=True)
    outcome = serializers.ChoiceField(choices=["new", "updated", "unchanged", "rejected"])
    field = serializers.CharField(required=False, help_text="The part at fault, if rejected.")
    reason = serializers.CharField(required=False, help_text="What to mend, if rejected.")
    note = serializers.CharField(required=False, help_text="What was odd about the line.")
