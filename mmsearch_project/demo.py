"""Whether the demo catalogue is to be loaded: into an empty database, at its first start, once."""

from __future__ import annotations

import enum
from pathlib import Path

from django.conf import settings


class DemoState(enum.StrEnum):
    """What became of the demo catalogue; kept in a file of the data folder."""

    LOADING = "loading"
    """Wanted, and not yet loaded to the end: the next start goes on."""
    SETTLED = "settled"
    """Loaded, or not wanted: whoever deletes the items does not get them back."""


def state(data_dir: Path) -> DemoState | None:
    """What is known, None before the first start with MMSEARCH_DEMO=1."""
    try:
        return DemoState(_file(data_dir).read_text().strip())
    except (FileNotFoundError, ValueError):
        return None


def settle(data_dir: Path) -> None:
    """Never load it again."""
    _file(data_dir).write_text(DemoState.SETTLED)


def plan() -> None:
    """At the first start with MMSEARCH_DEMO=1, decide: an empty database is to get the items."""
    from catalog.models import Item

    data_dir: Path = settings.MMSEARCH_DATA_DIR
    if settings.MMSEARCH_DEMO and state(data_dir) is None:
        wanted = DemoState.SETTLED if Item.objects.exists() else DemoState.LOADING
        _file(data_dir).write_text(wanted)


def _file(data_dir: Path) -> Path:
    return data_dir / "demo_catalogue"
