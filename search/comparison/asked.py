"""The log of texts that people searched for: small, without anything about who asked."""

from __future__ import annotations

import random
import threading
import time
from typing import Final

from django.conf import settings
from django.db import transaction

from search.models import LONGEST_TEXT, AskedText

WRITE_INTERVAL: Final = 5.0
"""Seconds that texts are gathered before they are written."""
GATHERED: Final = 500
"""Texts gathered at most; further ones in the same seconds are not kept."""

_lock = threading.Lock()
_gathered: dict[str, None] = {}
_written = time.monotonic()


def note_asked(text: str) -> None:
    """Remember a text until the next :func:`write_asked`; no database, no wait."""
    text = " ".join(text.split())
    if not settings.MMSEARCH_QUERY_LOG or not 0 < len(text) <= LONGEST_TEXT:
        return
    with _lock:
        if len(_gathered) < GATHERED:
            _gathered[text] = None


def write_asked(*, at_once: bool = False) -> int:
    """Write what was gathered, if WRITE_INTERVAL has passed; returns how many texts.

    A serving process calls this again and again. The newest MMSEARCH_QUERY_LOG texts stay; none do
    where that is 0. A share of MMSEARCH_SHADOW is drawn to be asked of another space.
    """
    global _written  # noqa: PLW0603  one log a process
    if not at_once and time.monotonic() - _written < WRITE_INTERVAL:
        return 0
    _written = time.monotonic()
    with _lock:
        texts = list(_gathered)
        _gathered.clear()
    most = settings.MMSEARCH_QUERY_LOG
    if not texts and (most or not AskedText.objects.exists()):
        return 0
    share = settings.MMSEARCH_SHADOW or 0.0
    with transaction.atomic():
        AskedText.objects.filter(text__in=texts).delete()
        AskedText.objects.bulk_create(
            AskedText(text=text, is_drawn=random.random() < share)  # noqa: S311  a sample
            for text in texts
        )
        outdated = list(AskedText.objects.values_list("pk", flat=True)[most:])
        if outdated:
            AskedText.objects.filter(pk__lte=outdated[0]).delete()
    return len(texts)


def recent_texts(limit: int) -> list[str]:
    """The texts asked last, newest first."""
    return list(AskedText.objects.values_list("text", flat=True)[:limit])
