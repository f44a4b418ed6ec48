"""Addresses of the pages, and of the pictures that they show."""

from __future__ import annotations

from django.urls import URLPattern, path

from search import pages

page_urls: list[URLPattern] = [
    path("", pages.search_page, name="search"),
    path("items/<str:item_id>/", pages.item_page, name="item"),
    path("upload/", pages.upload_page, name="upload"),
    path("media/<path:path>", pages.media, name="media"),
]
