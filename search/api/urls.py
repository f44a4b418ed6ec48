"""Addresses of the HTTP API."""

from __future__ import annotations

from django.urls import URLPattern, path, re_path, register_converter
from django.urls.converters import StringConverter
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularSwaggerSplitView

from catalog.models import ITEM_ID_PATTERN
from search.api import errors, legacy, status
from search.api.bulk import BulkView
from search.api.bulk_delete import BulkDeleteView
from search.api.items import ITEM_ACTIONS, ItemViewSet
from search.api.openapi import OpenApiDocument
from search.api.search import SearchView


class ItemIdConverter(StringConverter):
    """Any id that an item can have: dots, spaces and letters of every script."""

    regex = ITEM_ID_PATTERN


register_converter(ItemIdConverter, "item_id")

api_urls: list[URLPattern] = [
    path("ingest_stream/", legacy.IngestStream.as_view(), name="ingest-stream"),
    path("search_text/", legacy.SearchText.as_view(), name="search-text"),
    path("search_image/", legacy.SearchImage.as_view(), name="search-image"),
    path("stats/", legacy.Stats.as_view(), name="stats"),
    path(
        "api/v1/items/",
        ItemViewSet.as_view({"get": "list", "post": "create"}),
        name="api-items",
    ),
    path("api/v1/items/bulk/", BulkView.as_view(), name="api-items-bulk"),
    path("api/v1/items/bulk-delete/", BulkDeleteView.as_view(), name="api-items-bulk-delete"),
    path(
        "api/v1/items/<item_id:item_id>/",
        ItemViewSet.as_view(ITEM_ACTIONS),
        name="api-item",
    ),
    path(
        "api/v1/items/<item_id:item_id>/similar/",
        ItemViewSet.as_view({"get": "similar"}),
        name="api-item-similar",
    ),
    path("api/v1/search/", SearchView.as_view(), name="api-search"),
    path("openapi.json", OpenApiDocument.as_view(), name="schema"),
    path("docs", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    path("docs/", RedirectView.as_view(pattern_name="docs")),
    path("healthz", status.Healthz.as_view(), name="healthz"),
    path("readyz", status.Readyz.as_view(), name="readyz"),
    path("metrics", status.Metrics.as_view(), name="metrics"),
    re_path(r"^api/", errors.not_found),
]
