"""Every address."""

from __future__ import annotations

from django.contrib import admin
from django.urls import URLPattern, URLResolver, path

from search.api.urls import api_urls
from search.pages.urls import page_urls

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/", admin.site.urls),
    *api_urls,
    *page_urls,
]
handler400 = "search.api.errors.bad_request"
handler500 = "search.api.errors.server_error"
