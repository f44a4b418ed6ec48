"""What search sets up."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.dispatch import receiver


@receiver(post_migrate, dispatch_uid="search.schedule_maintenance")
def schedule_maintenance(sender: AppConfig, **_: Any) -> None:
    if sender.name == "search":
        from django_q.models import Schedule

        Schedule.objects.update_or_create(
            name="maintain index",
            defaults={
                "func": "search.tasks.maintain_index",
                "schedule_type": Schedule.MINUTES,
                "minutes": 1,
            },
        )
