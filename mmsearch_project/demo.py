"""Whether the demo catalogue is to be loaded: into an empty database, at its first start, once.

The database knows, for all its hosts. A file of the data folder tells the supervisor, which asks no
database.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import django
from django.conf import settings

LOADING = "loading"
"""Of `Installation.Demo`; in the file: load it now."""


def is_wanted(data_dir: Path) -> bool:
    """Whether this host is to load the demo catalogue, as the last start found."""
    return _file(data_dir).exists()


def plan() -> None:
    """At the first start with MMSEARCH_DEMO=1, decide: an empty database is to get the items."""
    from catalog.models import Installation, Item

    Demo = Installation.Demo  # noqa: N806  a class
    installation, data_dir = Installation.current(), Path(settings.MMSEARCH_DATA_DIR)
    if not installation.demo and _kept_before(data_dir):
        installation.demo = _kept_before(data_dir)
    elif not installation.demo and settings.MMSEARCH_DEMO:
        installation.demo = Demo.SETTLED if Item.objects.exists() else Demo.LOADING
    installation.save(update_fields=["demo"])
    if installation.demo == Demo.LOADING:
        _file(data_dir).touch()
    else:
        _file(data_dir).unlink(missing_ok=True)


def settle() -> None:
    """Never load it again, on any host."""
    from catalog.models import Installation

    Installation.objects.update(demo=Installation.Demo.SETTLED)
    _file(Path(settings.MMSEARCH_DATA_DIR)).unlink(missing_ok=True)


def main() -> int:
    """Load it; exit status as `ingest_dataset` has it."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mmsearch_project.settings")
    django.setup()
    from django.core.management import CommandError, call_command

    folder: Path = settings.BASE_DIR / "demo"
    status = 0
    try:
        call_command("ingest_dataset", str(folder / "metadata.csv"), images=folder / "images")
    except CommandError as exc:
        print(f"mmsearch: {exc}", file=sys.stderr)  # noqa: T201
        status = exc.returncode
    if status in (0, 1):  # all well, or some rows rejected
        settle()
    return status


def _file(data_dir: Path) -> Path:
    return data_dir / "demo_wanted"


def _kept_before(data_dir: Path) -> str:
    """What an earlier version kept in a file, for one host alone."""
    try:
        return (data_dir / "demo_catalogue").read_text().strip()
    except FileNotFoundError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
