"""The four original endpoints, in exactly their shapes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from django.conf import settings
from rest_framework.parsers import FormParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from catalog.ingest import ItemRecord
from search.answer.answering import search
from search.answer.syntax import ask
from search.api import schema
from search.api.bodies import JsonParser, MultiPartParser
from search.api.errors import EncodingFailed, refuse
from search.api.intake import store, uploaded_image
from search.api.results import legacy_results
from search.api.search import decode_picture
from search.api.search_serializers import ImageQuery, TextQuery
from search.api.serializers import StreamedItem
from search.operations.stats import IndexStats, system_stats


class IngestStream(APIView):
    """Take in one item; it is embedded in the background."""

    parser_classes = (MultiPartParser, FormParser)
    record_field_names = {  # noqa: RUF012  constant
        "caption": "text_caption",
        "image": "image_file",
        "tags": "tags_str",
    }

    @schema.INGEST_STREAM
    def post(self, request: Request) -> Response:
        """Add an item, or update the one that has this `item_id`."""
        started = time.perf_counter()
        form = StreamedItem(data=request.data)
        form.is_valid(raise_exception=True)
        given: dict[str, Any] = {
            name: value for name, value in form.validated_data.items() if value
        }
        if "text_caption" not in given and "image_file" not in given:
            raise refuse("text_caption", "Give a caption, an image file, or both.")
        outcome = store(
            ItemRecord(
                item_id=given.get("item_id"),
                title=given.get("title"),
                caption=given.get("text_caption"),
                tags=given.get("tags_str"),
                category=given.get("category"),
                image=uploaded_image(given.get("image_file")),
            ),
            field_names=self.record_field_names,
        )
        return Response(
            {
                "message": "Item accepted for processing.",
                "item_id": outcome.item_id,
                "processing_time": round(time.perf_counter() - started, 6),
            }
        )


class SearchText(APIView):
    """Search with words."""

    parser_classes = (JsonParser,)
    body = TextQuery()
    """One for all requests: to make its fields costs more than to check a query."""
    encoding_error = EncodingFailed
    query_field_names = {"text": "query_text"}  # noqa: RUF012  constant

    @schema.SEARCH_TEXT
    def post(self, request: Request) -> Response:
        """The items that fit the words best."""
        started = time.perf_counter()
        asked = self.body.run_validation(request.data)
        results = search(ask(asked["query_text"], **_wanted(asked)))
        return Response(legacy_results(results, query_time=time.perf_counter() - started))


class SearchImage(APIView):
    """Search with a picture."""

    parser_classes = (MultiPartParser,)
    encoding_error = EncodingFailed
    query_field_names = {"image": "image_file"}  # noqa: RUF012  constant

    @schema.SEARCH_IMAGE
    def post(self, request: Request) -> Response:
        """The items that resemble the picture most."""
        started = time.perf_counter()
        form = ImageQuery(data=request.data)
        form.is_valid(raise_exception=True)
        picture = decode_picture("image_file", form.validated_data["image_file"])
        results = search(ask(image=picture, **_wanted(form.validated_data)))
        return Response(legacy_results(results, query_time=time.perf_counter() - started))


def _wanted(asked: dict[str, Any]) -> dict[str, Any]:
    """The nearest `top_n`, as these endpoints always gave them, unless a least score is named."""
    least = asked.get("min_score")
    return {"top_n": asked["top_n"], "min_score": least, "all": least is None}


class Stats(APIView):
    """What the system holds and uses."""

    @schema.STATS
    def get(self, request: Request) -> Response:
        """Counts, index, memory and processor."""
        stats = system_stats()
        shown = str if request.user and request.user.is_staff else _below_data_dir
        return Response(
            {
                "message": "System Stats",
                "total_vectors_in_faiss": stats.vectors,
                "memory_rss_mb": stats.memory_rss_mb,
                "memory_vms_mb": stats.memory_vms_mb,
                "cpu_percent": stats.cpu_percent,
                "faiss_index_path": shown(stats.index_path),
                "metadata_db_path": shown(stats.database),
                "items": stats.states.items,
                "indexed": stats.states.indexed,
                "pending": stats.states.pending,
                "failed": stats.states.failed,
                "model": stats.space.model if stats.space else "",
                "indexes": [_index_stats(index) for index in stats.indexes],
                "spaces": [space.as_dict() for space in stats.spaces],
            }
        )


def _below_data_dir(path: str) -> str:
    """A path as it may be told to anyone: nothing of the machine's folders."""
    try:
        return str(Path(path).relative_to(settings.MMSEARCH_DATA_DIR))
    except ValueError:
        return Path(path).name


def _index_stats(index: IndexStats) -> dict[str, Any]:
    return {
        "modality": index.modality,
        "kind": index.store.kind,
        "vectors": index.store.count,
        "delta": index.store.delta,
        "dead": index.store.dead,
        "effort": index.store.effort,
        "bytes_per_vector": round(index.store.bytes_per_vector, 1),
        "recall": round(index.tuning.recall, 4) if index.tuning else None,
    }
