"""Every address."""

from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, path

from search.pages_urls import page_urls

urlpatterns: list[URLPattern | URLResolver] = [path("admin/", admin.site.urls), *page_urls]
