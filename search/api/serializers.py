"""What goes in and out of the API.

Search answers are built as plain dicts in `results`, which is several times cheaper; their
serializers here only describe them, and a test holds every answer against the schema.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from catalog.models import Item, Tag
from embeddings.models import MODALITY_CHOICES
from embeddings.states import ItemState
from search.answer.query import ANY, MAX_OFFSET, MAX_TEXT_LENGTH, MAX_TOP_N
from search.api import links
from search.api.fields import Picture, PictureOrBase64, Tags, Text

SEARCHED_MODALITIES: Final = [(ANY, ANY), *MODALITY_CHOICES]


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


class ItemFields(serializers.Serializer[Any]):
    """What a client says about an item. A part that is not given keeps its value."""

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


class StreamedItem(serializers.Serializer[Any]):
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


class TopN(serializers.IntegerField):
    """How many results."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            **{"min_value": 1, "max_value": MAX_TOP_N, "default": 5, "required": False, **kwargs}
        )


class TextQuery(serializers.Serializer[Any]):
    query_text = Text(max_length=MAX_TEXT_LENGTH)
    top_n = TopN()


class ImageQuery(serializers.Serializer[Any]):
    image_file = Picture()
    top_n = TopN()


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


class SimilarParameters(serializers.Serializer[Any]):
    """Which results to show."""

    top_n = TopN()
    offset = serializers.IntegerField(
        min_value=0, max_value=MAX_OFFSET, default=0, required=False, help_text="Results to skip."
    )
    modality = serializers.ChoiceField(
        choices=SEARCHED_MODALITIES,
        default=ANY,
        required=False,
        help_text="Which of an item's vectors may match.",
    )
    category = Text(required=False, allow_blank=True, max_length=200, help_text="Only this one.")
    tags = Tags(required=False, help_text="Only items with all of these; repeated or with commas.")


class SearchParameters(SimilarParameters):
    """What `GET /api/v1/search/` takes."""

    q = Text(
        required=False,
        allow_blank=True,
        max_length=MAX_TEXT_LENGTH,
        help_text="What to look for, in words.",
    )
    like = Text(
        required=False,
        allow_blank=True,
        max_length=200,
        help_text="The `item_id` of an item to resemble, with or without words.",
    )


class SearchRequest(SearchParameters):
    """What `POST /api/v1/search/` takes: words, a picture, an item, or several of them."""

    image = PictureOrBase64(required=False)


class SearchForm(SearchParameters):
    """The same as a multipart form."""

    image = Picture(required=False)


class SearchResult(serializers.Serializer[Any]):
    item_id = serializers.CharField()
    id = serializers.CharField(help_text="The item's key in the database.")
    score = serializers.FloatField(help_text="Higher is better.")
    modality = serializers.ChoiceField(choices=MODALITY_CHOICES, help_text="What matched best.")
    title = serializers.CharField()
    caption = serializers.CharField()
    tags = serializers.ListField(child=serializers.CharField())
    category = serializers.CharField()
    image_url = serializers.URLField(allow_null=True)
    thumbnail_url = serializers.URLField(allow_null=True)
    url = serializers.URLField()


class FacetValue(serializers.Serializer[Any]):
    name = serializers.CharField()
    count = serializers.IntegerField()


class FacetLists(serializers.Serializer[Any]):
    """Counted over the best matches, most frequent first."""

    categories = FacetValue(many=True)
    tags = FacetValue(many=True)


class StageTimings(serializers.Serializer[Any]):
    """Milliseconds."""

    encode_ms = serializers.FloatField()
    index_ms = serializers.FloatField()
    database_ms = serializers.FloatField()
    total_ms = serializers.FloatField()


class SearchEnvelope(serializers.Serializer[Any]):
    results = SearchResult(many=True)
    total = serializers.IntegerField(help_text="Items that the filters allow.")
    top_n = serializers.IntegerField()
    offset = serializers.IntegerField()
    facets = FacetLists()
    timings = StageTimings()


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
    note = serializers.CharField(required=False, help_text="What was odd, and yet taken.")
