"""A folder of pictures as it changes."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from catalog.ingest.folders import CAPTION_SUFFIX, ImageFolder, picture_record, walk
from catalog.ingest.formats import is_picture_name
from catalog.ingest.records import ItemRecord, Outcome, path_id

_State: TypeAlias = tuple[int, int]
"""Time of change in nanoseconds, and size."""
_Signature: TypeAlias = tuple[_State, _State | None]
"""Of a picture and its caption."""


@dataclasses.dataclass(frozen=True)
class Look:
    """What one look at the folder found, compared with the look before."""

    settled: dict[Path, _Signature]
    """New and changed pictures that have stopped changing."""
    present: frozenset[str]
    """Item ids of all pictures, those too that were there a look ago."""
    gone: bool
    """Whether pictures have vanished since the last call of `pruned`."""
    unreadable: Sequence[OSError]
    """Folders of which nothing is known."""


class FolderWatch:
    """Compares looks at a folder: what is half written, or away for a moment, is left in peace."""

    def __init__(self, folder: ImageFolder) -> None:
        self._folder = folder
        self._known: dict[Path, _Signature] = {}
        self._before: dict[Path, _Signature] = {}
        self._unpruned = True  # what vanished before anybody watched
        self.seconds = 0.0
        """That the last look took."""

    def look(self) -> Look:
        """Look again. Two looks find a change, the second that it has settled."""
        unreadable: list[OSError] = []
        started = time.monotonic()
        now = self._signatures(unreadable)
        self.seconds = time.monotonic() - started
        before, self._before = self._before, now
        settled = {
            path: signature
            for path, signature in now.items()
            if before.get(path) == signature != self._known.get(path)
        }
        if not unreadable:
            for path in self._known.keys() - now.keys() - before.keys():
                del self._known[path]
                self._unpruned = True
        ids = {self._item_id(path) for path in (*now, *before)}
        return Look(settled, frozenset(ids), self._unpruned, unreadable)

    def read(self, look: Look) -> Iterator[ItemRecord | Outcome]:
        """Records of what has settled, in order of path."""
        for path in sorted(look.settled):
            yield picture_record(self._folder, path)

    def stored(self, look: Look) -> None:
        """What had settled is dealt with, until it changes again."""
        self._known.update(look.settled)

    def pruned(self) -> None:
        """What has vanished is dealt with."""
        self._unpruned = False

    def _item_id(self, path: Path) -> str:
        return path_id(path.relative_to(self._folder.root).as_posix())

    def _signatures(self, unreadable: list[OSError]) -> dict[Path, _Signature]:
        pictures: dict[Path, _State] = {}
        captions: dict[Path, _State] = {}
        for path in walk(self._folder.root, unreadable):
            kept = pictures if is_picture_name(path.name) else captions
            if kept is captions and path.suffix.lower() != CAPTION_SUFFIX:
                continue
            state = _state(path)
            if state is not None:
                kept[path] = state
        return {
            path: (state, captions.get(path.with_suffix(CAPTION_SUFFIX)))
            for path, state in pictures.items()
        }


def _state(path: Path) -> _State | None:
    try:
        stat = path.stat()
    except OSError:  # gone meanwhile, or a link to nowhere
        return None
    return stat.st_mtime_ns, stat.st_size
