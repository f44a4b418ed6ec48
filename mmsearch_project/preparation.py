"""What must be true before the server and the worker start; run as a process of its own.

Loading and converting a model takes memory that the supervisor should not keep.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
from types import FrameType

import django
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from mmsearch_project import demo
from mmsearch_project import environment as env
from mmsearch_project.beside_hosts import one_start_at_a_time, share_secret_key
from search.moving import MARK

STARTER_NOTICE = """\
The starter model is in use. It is small and for trying out; for real use start with
    MMSEARCH_MODEL=openai/clip-vit-base-patch32 make run
or another of docs/models.md, or a directory. Items are then embedded anew in the background."""


class NotReadyError(Exception):
    """The application cannot start; the message names the mend."""


def prepare() -> None:
    """Migrate, prepare and open the model, make the first login, plan the demo catalogue.

    Raises NotReadyError.
    """
    check_settings()
    try:
        with one_start_at_a_time(
            on_wait=lambda: say("Another start is under way: waiting for it …")
        ):
            migrate()
            share_secret_key()
            open_model()
            make_first_login()
            demo.plan()
    except DatabaseError as exc:
        name = settings.DATABASES["default"]["NAME"]
        raise NotReadyError(f"The database {name} cannot be used: {exc}.") from exc


def check_settings() -> None:
    """Run the system checks; the first error is why we do not start.

    Those of a deployment too: what is asked over the network is among them.
    """
    for message in checks.run_checks(include_deployment_checks=True):
        if message.is_serious():
            raise NotReadyError(f"{message.msg} {message.hint or ''}".strip())


def migrate() -> None:
    """Bring the database's tables up to date. Raises NotReadyError."""
    if MARK in connection.introspection.table_names():
        raise NotReadyError(
            "A catalogue is being moved into this database. Complete that, with `manage.py move_to`"
            " and the settings of the old one; then start."
        )
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        say("Preparing the database …")
        call_command("migrate", interactive=False, verbosity=0)


def open_model() -> None:
    """Have a space active. Raises NotReadyError.

    Where there is something to find, it is found at once: the worker prepares another model, and
    its space is built beside the one that answers.
    """
    from catalog.models import Installation, Item
    from embeddings import openings
    from embeddings.encoders.base import EncoderError
    from embeddings.encoders.serving.devices import GPU_MEND, leaves_gpu_idle
    from embeddings.opening import open_space
    from embeddings.overview import outline
    from embeddings.spaces import active_space, require_active_space

    installation, choice = Installation.current(), settings.MMSEARCH_MODEL_CHOICE
    # Without a choice of its own, a host has that of the others.
    model = env.text("MMSEARCH_MODEL") or installation.model or settings.MMSEARCH_MODEL
    try:
        if active_space() is None or not Item.objects.exists():
            open_space(model)  # logs what it did
        else:
            openings.ask_at_start(model, last_model=installation.model or env.first_line(choice))
    except EncoderError as exc:
        raise NotReadyError(str(exc)) from exc
    installation.model = model
    installation.save(update_fields=["model"])
    choice.write_text(f"{model}\n", encoding="utf-8")
    space = require_active_space()
    for line in outline().news:
        say(line)
    if space.source == "starter":
        say(STARTER_NOTICE)
    elif leaves_gpu_idle(settings.MMSEARCH_DEVICE):
        say(f"The NVIDIA GPU of this machine is not used. To use it, {GPU_MEND}.")


def make_first_login() -> None:
    """Create `admin` with a random password where no administrator exists; say it once."""
    from django.contrib.auth.models import User

    if User.objects.filter(is_superuser=True).exists():
        return
    password = secrets.token_urlsafe(12)
    User.objects.create_superuser("admin", password=password)
    say(
        f"Administration: /admin/, user admin, password {password}\n"
        "    Shown this once and stored nowhere; `manage.py changepassword admin` sets another."
    )


def say(line: str) -> None:
    """Print for the operator, at once."""
    print(line, flush=True)  # noqa: T201  this is a program's output


def _end_with_children(_signum: int, _frame: FrameType | None) -> None:
    """On SIGTERM: end the process that prepares the model, too."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.killpg(0, signal.SIGTERM)


def main() -> int:
    """Prepare; one line and exit status 1 where that fails."""
    if os.getpgrp() == os.getpid():  # started by the supervisor
        signal.signal(signal.SIGTERM, _end_with_children)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mmsearch_project.settings")
    try:
        django.setup()
        prepare()
    except (NotReadyError, ImproperlyConfigured) as exc:
        print(f"mmsearch: {exc}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
