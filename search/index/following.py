"""A serving process's background thread: keeps its index level and measures its recall."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from django.db import close_old_connections, connections

from embeddings.backends import default_encoder
from embeddings.encoders.base import Modality
from search.index import maintenance
from search.index.space_index import current_index

logger = logging.getLogger(__name__)

INTERVAL: Final = 0.5
"""Seconds between looks at the log."""
RECALL_INTERVAL: Final = 600.0
"""Seconds between measurements of recall."""
NEWS_INTERVAL: Final = 30.0
"""The same after a start or a new snapshot, of which nothing is known yet."""
RETRY_INTERVAL: Final = 5.0
"""Seconds to wait after an error."""

_lock = threading.Lock()
_thread: threading.Thread | None = None


def start_following() -> None:
    """Warm up the text encoder, load the index, then follow the log; once per process.

    Returns at once. Errors are logged and tried again: the thread ends only with its process.
    """
    global _thread  # noqa: PLW0603  one per process is the point
    with _lock:
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_follow, name="follow-index", daemon=True)
            _thread.start()


def _follow() -> None:
    warm = False
    measured = time.monotonic()
    while True:
        pause = INTERVAL
        try:
            close_old_connections()
            if not warm:
                default_encoder().warm_up({Modality.TEXT})
                warm = True
            index = current_index()
            index.catch_up()
            interval = RECALL_INTERVAL if index.is_measured else NEWS_INTERVAL
            if time.monotonic() - measured > interval:
                measured = time.monotonic()
                maintenance.measure_recall(index)
        except Exception:
            logger.exception("Following the index failed; trying again in %.0f s", RETRY_INTERVAL)
            connections.close_all()
            pause = RETRY_INTERVAL
        time.sleep(pause)
