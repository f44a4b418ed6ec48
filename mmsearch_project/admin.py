"""The admin site under our name."""

from __future__ import annotations

from django.contrib import admin


class AdminSite(admin.AdminSite):
    site_header = "mmsearch"
    site_title = "mmsearch"
    index_title = "Catalogue"
