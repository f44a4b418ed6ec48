"""The operating points that tuning found: they outlive the snapshot and the process."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Final

from search.index.stores.faiss.plan import EFFORTS, FIRST_EFFORT, Kind

logger = logging.getLogger(__name__)

FILE: Final = "efforts.json"
"""Beside the manifest, for whoever compacts is rarely the one who tunes."""


class Efforts:
    """Effort by kind; one process writes what it tuned, all read it."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE
        self._known: dict[Kind, int] = dict(FIRST_EFFORT)

    def __getitem__(self, kind: Kind) -> int:
        return self._known[kind]

    def read(self) -> None:
        """Take over what was tuned last, here or elsewhere; what makes no sense is passed over."""
        try:
            found = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return
        except (OSError, ValueError) as exc:
            logger.warning("%s cannot be read; searches keep their effort: %s", self._path, exc)
            return
        for kind, points in EFFORTS.items():
            if isinstance(found, dict) and found.get(kind) in points:
                self._known[kind] = found[kind]

    def keep(self, kind: Kind, effort: int) -> None:
        """Use `effort` from now on, here and in every process that reads."""
        if effort == self._known[kind]:
            return
        self._known[kind] = effort
        written = self._path.with_suffix(f".{os.getpid()}.new")
        try:
            written.write_text(json.dumps(self._known))
            written.replace(self._path)
        except OSError as exc:
            logger.warning("%s cannot be written; it lasts until a restart: %s", self._path, exc)
