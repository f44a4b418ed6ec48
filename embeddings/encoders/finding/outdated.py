"""Prepared models that nothing uses any more."""

from __future__ import annotations

import fcntl
import logging
import shutil
import time
from collections.abc import Container
from pathlib import Path
from typing import Final

from embeddings.encoders.finding.prepared import MANIFEST, TEMPORARY, Prepared

logger = logging.getLogger(__name__)

GRACE: Final = 24 * 3600.0
"""Seconds that a prepared model is kept in any case."""


def sweep_prepared(
    models: Path, *, in_use: Container[tuple[str, str]], grace: float = GRACE
) -> int:
    """Delete older revisions of prepared models, and what older code or a killed run left.

    Kept are the newest revision of each model, those `in_use` (model, revision), and whatever is
    younger than `grace` seconds. Returns how many folders went; 0 while a model is being prepared.
    """
    if not models.is_dir():
        return 0
    with (models / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        outdated = [path for path in _outdated(models, in_use) if _age(path) > grace]
        for path in outdated:
            logger.info("Swept %s: nothing uses it", path)
            shutil.rmtree(path)
        _forget_sources(models, grace)
    return len(outdated)


def delete_prepared(models: Path, model: str, revision: str) -> None:
    """Delete what is prepared of one revision of a model, in whatever precision."""
    for path in models.glob(f"*/{MANIFEST}"):
        prepared = Prepared.read(path.parent)
        if prepared is None:
            continue
        described = prepared.description
        if (described.model, described.revision) == (model, revision):
            shutil.rmtree(path.parent)
            logger.info("Deleted %s: no space uses it any more", path.parent)


def _outdated(models: Path, in_use: Container[tuple[str, str]]) -> list[Path]:
    leftovers = [path for path in models.glob(f"{TEMPORARY}*") if path.is_dir()]
    newest: dict[str, str] = {}
    folders = [path.parent for path in models.glob(f"[!.]*/{MANIFEST}")]
    prepared = [p for folder in folders if (p := Prepared.read(folder))]
    # What has no manifest of the present format was prepared by older code.
    leftovers += set(folders) - {p.directory for p in prepared}
    for each in sorted(prepared, key=lambda p: _age(p.directory), reverse=True):
        newest[each.description.model] = each.description.revision
    return leftovers + [
        p.directory
        for p in prepared
        if newest[p.description.model] != p.description.revision
        and (p.description.model, p.description.revision) not in in_use
    ]


def _forget_sources(models: Path, grace: float) -> None:
    """Delete what is remembered of the files of models that are gone."""
    for source in models.glob("*.json"):
        if not any(models.glob(f"{source.stem}-*/{MANIFEST}")) and _age(source) > grace:
            source.unlink(missing_ok=True)


def _age(path: Path) -> float:
    stat = path.stat()
    return time.time() - max(stat.st_mtime, stat.st_ctime)
