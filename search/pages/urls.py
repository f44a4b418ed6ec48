"""Addresses of the pages, and of the pictures that they show."""

from __future__ import annotations

from django.contrib.auth.views import LoginView, LogoutView
from django.templatetags.static import static
from django.urls import URLPattern, path
from django.views.generic import RedirectView

from search.pages import views
from search.pages.comparing import compare_page

page_urls: list[URLPattern] = [
    path("", views.search_page, name="search"),
    path("items/<str:item_id>/", views.item_page, name="item"),
    path("upload/", views.upload_page, name="upload"),
    path("compare/", compare_page, name="compare"),
    path("login/", LoginView.as_view(template_name="search/login.html"), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("favicon.ico", RedirectView.as_view(url=static("mmsearch/icon.svg"))),
    path("media/<path:path>", views.media, name="media"),
]
