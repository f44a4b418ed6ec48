"""A start beside other hosts of the same database: one after the other, and with the same key."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from typing import Final

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections
from django.utils.crypto import salted_hmac

START_LOCK: Final = 0x6D6D7365
"""A number that nobody else locks in this database."""


@contextlib.contextmanager
def one_start_at_a_time(*, on_wait: Callable[[], None]) -> Iterator[None]:
    """Wait, after a call of `on_wait`, while another start prepares the database.

    On SQLite it is a lock of the data folder, where web and worker may start beside each other.
    Else it is a transaction's, on a connection of its own: it holds behind a pool of connections,
    and ends with its process.
    """
    with _the_only_start_here(on_wait):
        if connections[DEFAULT_DB_ALIAS].vendor == "postgresql":
            with _the_only_start(on_wait):
                yield
        else:
            yield


@contextlib.contextmanager
def _the_only_start_here(on_wait: Callable[[], None]) -> Iterator[None]:
    """Over this data folder: the models in it are prepared once, too."""
    with (settings.MMSEARCH_DATA_DIR / "start.lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _the_only_start(on_wait: Callable[[], None]) -> Iterator[None]:
    connection = connections.create_connection(DEFAULT_DB_ALIAS)
    try:
        connection.set_autocommit(False)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [START_LOCK])
            if not cursor.fetchone()[0]:
                on_wait()
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [START_LOCK])
        yield
    finally:
        connection.close()


def share_secret_key() -> None:
    """Take down which secret key this database's hosts have in common.

    Raises ImproperlyConfigured where another host is at work with another one. Where none is, the
    key may change.
    """
    from catalog.models import Installation
    from embeddings.presence import Presence, Role, alive

    installation = Installation.current()
    digest = salted_hmac("mmsearch.installation", "shared", algorithm="sha256").hexdigest()
    if installation.key_digest not in {"", digest} and alive(*Role).exists():
        raise ImproperlyConfigured(
            "Another host works on this database with another secret key: what one signs, the other"
            " would refuse. Set MMSEARCH_SECRET_KEY to the same value on all hosts; what a host was"
            f" started with first is in its {settings.MMSEARCH_DATA_DIR.name}/secret_key."
        )
    installation.key_digest = digest
    installation.save(update_fields=["key_digest"])
    Presence(Role.STARTING).appear()
