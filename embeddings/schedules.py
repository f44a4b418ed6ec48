"""What django-q2 runs by the clock: declared by the apps, kept as rows of django-q2."""

from __future__ import annotations

from typing import Any, Final

from django.apps import AppConfig
from django.apps.registry import Apps
from django.db.models.signals import post_migrate
from django.dispatch import receiver

_DECLARED: Final[dict[str, dict[str, Any]]] = {}
"""Fields of django-q2's row by the schedule's name."""
_ON_EACH_HOST: Final[dict[str, str]] = {}
"""Functions by name."""


def each_minute(name: str, function: str) -> None:
    """Declare that `function` (a dotted path) runs each minute, from AppConfig.ready()."""
    _DECLARED[name] = {"func": function, "schedule_type": "I", "minutes": 1}


def each_day(name: str, function: str) -> None:
    """The same once a day, beginning with the first."""
    _DECLARED[name] = {"func": function, "schedule_type": "D"}


def each_minute_on_each_host(name: str, function: str) -> None:
    """Declare that every host runs `function` each minute, which concerns its own data folder."""
    _ON_EACH_HOST[name] = function


def on_each_host() -> list[str]:
    """The functions that every host runs each minute; no rows stand for them."""
    return list(_ON_EACH_HOST.values())


def ensure() -> None:
    """Write the declared schedules that are missing or changed."""
    from django_q.models import Schedule

    Schedule.objects.filter(name__in=_ON_EACH_HOST).delete()
    for name, fields in _DECLARED.items():
        Schedule.objects.update_or_create(name=name, defaults=fields)


# The signal comes only for apps with models; the rows are django-q2's, whose table must exist.
@receiver(post_migrate, dispatch_uid="embeddings.ensure_schedules")
def ensure_after_migrate(sender: AppConfig, apps: Apps | None = None, **_: Any) -> None:
    if sender.name == "django_q" and (
        apps is None or "schedule" in apps.all_models["django_q"]  # migrated that far
    ):
        ensure()
