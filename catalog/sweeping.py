"""Picture files that no item names: what a kill left between storing a file and writing its row."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from django.conf import settings
from django.db.models import Q
from numpy.typing import NDArray

from catalog.models import Item
from catalog.storage import INCOMING

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
    not be the one that these files belong to. Memory: 16 bytes an item.
    """
    root, before = Path(settings.MEDIA_ROOT), time.time() - grace
    swept = _sweep_unfinished(root, before)
    held = _held()
    if not held.size:
        return swept
    files = _stored(root, before)
    while names := list(islice(files, CHUNK)):
        keys = _keys(names)
        known = held[np.searchsorted(held[:-1], keys)] == keys
        for name in _unnamed([n for n, is_known in zip(names, known, strict=True) if not is_known]):
            (root / name).unlink(missing_ok=True)
            swept += 1
    if swept:
        logger.info("Swept %d stored pictures that no item names", swept)
    return swept


def _sweep_unfinished(root: Path, before: float) -> int:
    """Delete what a kill left of files that were being written; returns how many."""
    if not root.is_dir():
        return 0
    with os.scandir(root) as entries:
        old = [e.path for e in entries if e.name.startswith(INCOMING) and _is_older(e, before)]
    for path in old:
        Path(path).unlink(missing_ok=True)
    return len(old)


def _held() -> NDArray[np.int64]:
    """Sorted keys of the names that items hold, previews too."""
    rows = Item.objects.exclude(image="").order_by().values_list("image", "preview")
    names = (name for pair in rows.iterator(chunk_size=10_000) for name in pair if name)
    return np.unique(np.fromiter(map(hash, names), np.int64))


def _keys(names: Sequence[str]) -> NDArray[np.int64]:
    return np.fromiter(map(hash, names), np.int64, len(names))


def _stored(root: Path, before: float) -> Iterator[str]:
    """Names of stored files that neither were written nor came here after `before`."""
    for folder in _FOLDERS:
        if not (root / folder).is_dir():
            continue
        for shard in sorted((root / folder).iterdir()):
            try:
                with os.scandir(shard) as entries:
                    found = [entry for entry in entries if _is_old(entry, before)]
            except (NotADirectoryError, FileNotFoundError):
                continue
            yield from (f"{folder}/{shard.name}/{entry.name}" for entry in found)


def _is_old(entry: os.DirEntry[str], before: float) -> bool:
    is_ours = _OUR_NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
    return bool(is_ours) and _is_older(entry, before)


def _is_older(entry: os.DirEntry[str], before: float) -> bool:
    try:
        stat = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    return max(stat.st_mtime, stat.st_ctime) < before


def _unnamed(names: Sequence[str]) -> set[str]:
    """Those of `names` that no item names, asked of the database now."""
    if not names:
        return set()
    items = Item.objects.filter(Q(image__in=names) | Q(preview__in=names)).order_by()
    return set(names) - {name for pair in items.values_list("image", "preview") for name in pair}
