"""Search results as JSON: plain dicts, for every search pays for them."""

from __future__ import annotations

import dataclasses
from typing import Any

from rest_framework.request import Request

from search.answer.answering import Hit, SearchResults
from search.answer.facets import Facets
from search.answer.query import SearchQuery
from search.api import links


def envelope(request: Request, query: SearchQuery, results: SearchResults) -> dict[str, Any]:
    """The answer of `/api/v1/search/` and of `similar`."""
    return {
        "results": [_result(request, hit) for hit in results.hits],
        "total": results.total,
        "top_n": query.top_n,
        "offset": query.offset,
        "cursor": results.cursor,
        "facets": _facets(results.facets),
        "notes": list(query.notes),
        "timings": {
            name: round(value, 3) for name, value in dataclasses.asdict(results.timings).items()
        },
    }


def legacy_results(results: SearchResults, *, query_time: float) -> dict[str, Any]:
    """The answer of `/search_text/` and `/search_image/`; `query_time` in seconds."""
    return {
        "results": [_legacy_result(hit) for hit in results.hits],
        "query_time": round(query_time, 6),
    }


def _result(request: Request, hit: Hit) -> dict[str, Any]:
    item = hit.item
    return {
        "item_id": item.item_id,
        "id": str(item.pk),
        "score": round(hit.score, 6),
        "why": {
            "evidence": {name: round(value, 6) for name, value in hit.evidence.items()},
            "title": hit.title,
            "caption": hit.caption,
        },
        "modality": hit.matched,
        "title": item.title,
        "caption": item.caption,
        "tags": list(hit.tags),
        "category": item.category,
        "image_url": links.image_url(request, item),
        "thumbnail_url": links.thumbnail_url(request, item),
        "url": links.item_url(request, item.item_id),
    }


def _legacy_result(hit: Hit) -> dict[str, Any]:
    item = hit.item
    return {
        "id": str(item.pk),
        "item_id": item.item_id,
        "score": round(hit.score, 6),
        "text": item.caption,
        "image_path": item.image.name or "",
        "metadata": {
            "title": item.title,
            "tags": ",".join(hit.tags),
            "category": item.category,
            "original_filename": item.original_filename,
            "faiss_id": item.pk,
        },
    }


def _facets(facets: Facets) -> dict[str, Any]:
    return {
        "categories": [{"name": name, "count": count} for name, count in facets.categories],
        "tags": [{"name": name, "count": count} for name, count in facets.tags],
    }
