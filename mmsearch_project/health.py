"""`python -m mmsearch_project.health web|worker`: whether it lives here, as an exit status."""

from __future__ import annotations

import os
import sys
import urllib.request

from mmsearch_project import address
from mmsearch_project.data_folder import Role

SECONDS = 5


def web_lives() -> bool:
    """Whether the web server of this machine, or container, answers."""
    from mmsearch_project import settings

    url = address.url(settings.HOST, settings.PORT)
    try:
        with urllib.request.urlopen(f"{url}healthz", timeout=SECONDS) as answer:  # noqa: S310  http
            return bool(answer.status == 200)
    except OSError:
        return False


def worker_lives() -> bool:
    """Whether the worker over this data folder has a heartbeat."""
    import django
    from django.db import DatabaseError

    django.setup()
    from embeddings import presence

    try:
        workers = presence.alive(presence.Role.WORKING)
        return workers.filter(pk__in=presence.known_here()).exists()
    except DatabaseError:
        return False


def main(arguments: list[str]) -> int:
    """0 where it lives, 1 where it does not."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mmsearch_project.settings")
    [role] = arguments
    return 0 if (web_lives() if Role(role) is Role.WEB else worker_lives()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
