"""A serving process's background threads: they keep its indexes level and make switches."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import Final

from django.db import close_old_connections, connections

from catalog.resources import return_freed_memory
from embeddings import per_space, switching
from embeddings.models import EmbeddingSpace
from embeddings.presence import Presence, Role
from embeddings.query_vectors import warm_up
from search.comparison.asked import write_asked
from search.index import maintenance
from search.index.item_columns import synced_columns
from search.index.space_index import active_index, held_logs, index_of
from search.index.stores.remote.engine import StoreUnavailable

logger = logging.getLogger(__name__)

INTERVAL: Final = 0.5
"""Seconds between looks at the log and at the wished switch."""
RECALL_INTERVAL: Final = 600.0
"""Seconds between measurements of recall."""
NEWS_INTERVAL: Final = 30.0
"""The same after a start or a new snapshot, of which nothing is known yet."""
RETURN_INTERVAL: Final = 60.0
"""Seconds between returns of memory that uploads and searches took for a moment."""
RETRY_INTERVAL: Final = 5.0
"""Seconds to wait after an error."""


class Following:
    """Keeps this process fit to answer, from the active space and from the one announced.

    Nothing is done in the calling thread. Errors are logged and tried again: the threads end only
    with their process.
    """

    def __init__(self) -> None:
        self._presence = Presence(Role.SERVING, reads_from=lambda: held_logs(self._followed))
        self._warm: set[int] = set()
        """Spaces whose text encoder and index are loaded here."""
        self._followed: frozenset[int] = frozenset()
        """Those whose change log is read here."""
        self._warming: threading.Thread | None = None
        self._measured = self._returned = time.monotonic()

    def begin(self) -> None:
        """Load and warm up what answers, then follow; the process counts as serving from now on."""
        threading.Thread(target=self._begin, name="follow-index", daemon=True).start()

    def end(self) -> None:
        """No longer count as serving: no switch waits for this process."""
        self._presence.end()

    def _begin(self) -> None:
        self._presence.begin()
        while True:
            pause = INTERVAL
            try:
                close_old_connections()
                self._look()
            except StoreUnavailable as exc:
                logger.warning("%s", exc)
                pause = RETRY_INTERVAL
            except Exception:
                logger.exception(
                    "Following the index failed; trying again in %.0f s", RETRY_INTERVAL
                )
                connections.close_all()
                pause = RETRY_INTERVAL
            time.sleep(pause)

    def _look(self) -> None:
        """Once round: get ready for a switch, make it, follow the log, let go of what was."""
        target = switching.announced()
        if target is not None:  # first: it may be the way out where the active space has no model
            self._get_ready(target)
        else:
            self._presence.say()
        write_asked()
        index = active_index()
        with contextlib.suppress(StoreUnavailable):  # each search says so, and the store's log
            index.tell(at_most=1)
        self._follow(index.space)
        kept = {index.space_id} if target is None else {index.space_id, target.pk}
        self._warm &= kept
        self._followed &= kept
        per_space.let_go(keep=kept)
        if time.monotonic() - self._returned > RETURN_INTERVAL:
            self._returned = time.monotonic()
            return_freed_memory()
        interval = RECALL_INTERVAL if index.is_measured else NEWS_INTERVAL
        if time.monotonic() - self._measured > interval:
            self._measured = time.monotonic()
            maintenance.measure_recall(index)

    def _get_ready(self, target: EmbeddingSpace) -> None:
        if target.pk not in self._warm:
            self._warm_up(target)
            return
        self._follow(target)
        self._presence.say(warm=target)
        switching.advance()

    def _follow(self, space: EmbeddingSpace) -> None:
        if space.pk not in self._warm:
            warm_up(space)
        self._followed |= {space.pk}
        index_of(space).catch_up()
        synced_columns()
        self._warm.add(space.pk)

    def _warm_up(self, target: EmbeddingSpace) -> None:
        """In a thread of its own: what answers now goes on being followed."""
        if self._warming is None or not self._warming.is_alive():
            self._warming = threading.Thread(
                target=self._try_to_warm_up, args=[target], name="warm-up", daemon=True
            )
            self._warming.start()

    def _try_to_warm_up(self, target: EmbeddingSpace) -> None:
        try:
            self._follow(target)
        except Exception as exc:
            logger.exception("Space %d, %s, cannot answer here yet", target.pk, target)
            self._presence.say(problem=str(exc))
            time.sleep(RETRY_INTERVAL)
        finally:
            connections.close_all()
