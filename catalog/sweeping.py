"""Picture files that no item names: what a kill left between storing a file and writing its row."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

import numpy as np
from django.db.models import Q
from django.utils import timezone
from numpy.typing import NDArray

from catalog.models import Item
from catalog.storage import INCOMING, place

logger = logging.getLogger(__name__)

GRACE: Final = 24 * 3600.0
"""Seconds that a file may wait for its row."""
CHUNK: Final = 500
"""Files looked up together."""
_FOLDERS: Final = ("images", "previews")
_OUR_NAME: Final = re.compile(r".+_[0-9a-f]{12}(_\w{7})?(\.\w+)?")


def sweep_pictures(*, grace: float = GRACE) -> int:
    """Delete stored pictures and previews that no item names; returns how many.

    Never touches a file younger than `grace` seconds, one that is not named as ours are, or a
    linked folder. Where no item has a stored picture at all, nothing is swept: the database may
    not be the one that these files belong to. Memory: 16 bytes an item, and the names of a shard.
    Raises PicturesUnavailable; what was swept by then stays so.
    """
    before = timezone.now() - timedelta(seconds=grace)
    swept = _sweep_unfinished(before)
    held = _held()
    if not held.size:
        return swept
    files = _stored()
    while names := list(islice(files, CHUNK)):
        keys = _keys(names)
        known = held[np.searchsorted(held[:-1], keys)] == keys
        strange = [name for name, is_known in zip(names, known, strict=True) if not is_known]
        orphans = [name for name in _unnamed(strange) if _is_older(name, before)]
        if orphans:
            place().delete_all(orphans)
        swept += len(orphans)
    if swept:
        logger.info("Swept %d stored pictures that no item names", swept)
    return swept


def _sweep_unfinished(before: datetime) -> int:
    """Delete what a kill left of files that were being written; returns how many."""
    _, files = place().listdir("")
    old = [name for name in files if name.startswith(INCOMING) and _is_older(name, before)]
    if old:
        place().delete_all(old)
    return len(old)


def _held() -> NDArray[np.int64]:
    """Sorted keys of the names that items hold, previews too."""
    rows = Item.objects.exclude(image="").order_by().values_list("image", "preview")
    names = (name for pair in rows.iterator(chunk_size=10_000) for name in pair if name)
    return np.unique(np.fromiter(map(hash, names), np.int64))


def _keys(names: Sequence[str]) -> NDArray[np.int64]:
    return np.fromiter(map(hash, names), np.int64, len(names))


def _stored() -> Iterator[str]:
    """Names of stored files that may be ours."""
    for folder in _FOLDERS:
        shards, _ = place().listdir(folder)
        for shard in sorted(shards):
            _, files = place().listdir(f"{folder}/{shard}")
            yield from (f"{folder}/{shard}/{file}" for file in files if _OUR_NAME.fullmatch(file))


def _is_older(name: str, before: datetime) -> bool:
    """Asked of the few that no item names: in a bucket it is a request for each."""
    try:
        return place().get_modified_time(name) < before
    except FileNotFoundError:
        return False


def _unnamed(names: Sequence[str]) -> set[str]:
    """Those of `names` that no item names, asked of the database now."""
    if not names:
        return set()
    items = Item.objects.filter(Q(image__in=names) | Q(preview__in=names)).order_by()
    return set(names) - {name for pair in items.values_list("image", "preview") for name in pair}
