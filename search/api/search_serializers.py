"""What goes in and out of a search; the answers are built in `results`, and described here."""

from __future__ import annotations

from typing import Any, Final

from rest_framework import serializers

from embeddings.models import MODALITY_CHOICES
from embeddings.states import ItemState
from search.answer.query import ANY, MAX_OFFSET, MAX_TERMS, MAX_TEXT_LENGTH, MAX_TOP_N
from search.answer.scoring import WORDS
from search.api.fields import Moment, Picture, PictureOrBase64, Tags, Text, Texts
from search.api.parameters import Fields

SEARCHED_MODALITIES: Final = [(ANY, ANY), *MODALITY_CHOICES]
EVIDENCE: Final = [(WORDS, WORDS), *MODALITY_CHOICES]


class TopN(serializers.IntegerField):
    """How many results."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            **{"min_value": 1, "max_value": MAX_TOP_N, "default": 5, "required": False, **kwargs}
        )


class MinScore(serializers.FloatField):
    """Least score of a result."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            **{
                "min_value": 0,
                "max_value": 1,
                "required": False,
                "help_text": "Least score, from 0 to 1; left out, whatever is nearest comes.",
                **kwargs,
            }
        )


class TextQuery(Fields):
    query_text = Text(max_length=MAX_TEXT_LENGTH)
    top_n = TopN()
    min_score = MinScore()


class ImageQuery(Fields):
    image_file = Picture()
    top_n = TopN()
    min_score = MinScore()


class SimilarParameters(Fields):
    """Which results to show."""

    top_n = TopN()
    offset = serializers.IntegerField(
        min_value=0, max_value=MAX_OFFSET, default=0, required=False, help_text="Results to skip."
    )
    cursor = Text(
        required=False,
        max_length=100,
        help_text="`start`, then what each answer gives: pages in which no hit comes twice.",
    )
    modality = serializers.ChoiceField(
        choices=SEARCHED_MODALITIES,
        default=ANY,
        required=False,
        help_text="Which of an item's vectors may match.",
    )
    category = Texts(required=False, help_text="Only this one, or where repeated one of these.")
    tags = Tags(required=False, help_text="Only items with all of these; repeated or with commas.")
    any_tags = Tags(required=False, help_text="Only items with at least one of these.")
    no_tags = Tags(required=False, help_text="Only items with none of these.")
    has = serializers.MultipleChoiceField(
        choices=MODALITY_CHOICES, required=False, help_text="Only items with these parts."
    )
    after = Moment(required=False, help_text="Created at that time or later: 2024, 2024-05-31, …")
    before = Moment(required=False, help_text="Created before that time.")
    state = serializers.ChoiceField(
        choices=[state.value for state in ItemState], required=False, help_text="Only these."
    )
    min_score = MinScore()


class SearchParameters(SimilarParameters):
    """What `GET /api/v1/search/` takes."""

    all = serializers.BooleanField(
        default=False, required=False, help_text="Rank everything, relevant or not."
    )

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


class TermRequest(Fields):
    """One of a text, a picture and an item, with its weight; below 0 it is pushed down."""

    text = Text(required=False, max_length=MAX_TEXT_LENGTH)
    image = PictureOrBase64(required=False)
    like = Text(required=False, max_length=200, help_text="An `item_id`.")
    weight = serializers.FloatField(default=1.0, required=False)


class SearchRequest(SearchParameters):
    """What `POST /api/v1/search/` takes: words, a picture, an item, or several of them."""

    image = PictureOrBase64(required=False)
    terms = serializers.ListField(
        child=TermRequest(),
        required=False,
        max_length=MAX_TERMS,
        help_text="More to look for, weighed.",
    )


class SearchForm(SearchParameters):
    """The same as a multipart form."""

    image = Picture(required=False)


class Why(serializers.Serializer[Any]):
    """What speaks for a hit."""

    evidence = serializers.DictField(
        child=serializers.FloatField(),
        help_text="`words` and each modality: the score by this alone.",
    )
    title = serializers.CharField(help_text="As HTML, the words looked for in `<mark>`.")
    caption = serializers.CharField(help_text="The same.")


class SearchResult(serializers.Serializer[Any]):
    item_id = serializers.CharField()
    id = serializers.CharField(help_text="The item's key in the database.")
    score = serializers.FloatField(help_text="From 0 to 1: how likely it is what was asked.")
    modality = serializers.ChoiceField(
        choices=EVIDENCE,
        allow_blank=True,
        help_text="What matched best; empty where nothing was looked for.",
    )
    why = Why()
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
    """Counted over all hits, most frequent first."""

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
    total = serializers.IntegerField(help_text="All hits; with `all` all items allowed.")
    top_n = serializers.IntegerField()
    offset = serializers.IntegerField()
    cursor = serializers.CharField(
        allow_null=True, help_text="Of the next page, where a cursor was sent and more comes."
    )
    facets = FacetLists()
    notes = serializers.ListField(
        child=serializers.CharField(),
        help_text="What of the text was perhaps not meant as it was read.",
    )
    timings = StageTimings()
