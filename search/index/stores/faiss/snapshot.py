"""Snapshots on disk: folders of files, and the manifest that says which of them count.

A folder is written under its final, never reused name and synced; then a new manifest that
names it replaces the old one in a single rename. Whatever the manifest does not name does not
exist. The two newest snapshots are kept: a process may be opening the older one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from search.index.stores.base import StoreError

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
LOCK: Final = "lock"
KEPT: Final = 2
_SAMPLE_BYTES: Final = 65_536
_SAMPLES: Final = 16


@dataclasses.dataclass(frozen=True)
class FileSeal:
    """What a file of a snapshot must look like."""

    name: str
    size: int
    sample: str
    """SHA-256 of 16 stretches of 64 KiB spread over the file: checked at every opening."""
    digest: str
    """SHA-256 of all of it: checked by verify."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One entry of the manifest."""

    folder: str
    key: str
    """Whose vectors: space and modality, as the caller names them."""
    dimension: int
    position: int
    """Change-log position up to which the vectors are complete."""
    rows: int
    count: int
    """Live rows."""
    trained_rows: int
    """Rows there were when the index's codes were learned."""
    kind: str
    factory: str
    files: tuple[FileSeal, ...]


class SnapshotDirectory:
    """The snapshots of one (space, modality)."""

    def __init__(self, path: Path, *, key: str, dimension: int) -> None:
        self.path = path
        self._key = key
        self._dimension = dimension

    def stamp(self) -> tuple[int, int] | None:
        """Changes whenever the manifest was replaced; None without one."""
        try:
            status = (self.path / MANIFEST).stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_ino

    def snapshots(self) -> list[Snapshot]:
        """What the manifest names, newest first. Raises StoreError for a broken or foreign one."""
        try:
            manifest = json.loads((self.path / MANIFEST).read_bytes())
            if manifest["format"] != FORMAT:
                raise StoreError(
                    f"{self.path / MANIFEST} has format {manifest['format']}, not {FORMAT}: "
                    "run rebuild_index."
                )
            found = [_snapshot(entry) for entry in manifest["snapshots"]]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError) as exc:
            raise StoreError(
                f"{self.path / MANIFEST} is not a manifest ({exc!r}): run rebuild_index."
            ) from exc
        for snapshot in found:
            if (snapshot.key, snapshot.dimension) != (self._key, self._dimension):
                raise StoreError(
                    f"{self.path / MANIFEST} belongs to {snapshot.key!r} of dimension "
                    f"{snapshot.dimension}, not to {self._key!r} of dimension "
                    f"{self._dimension}: run rebuild_index."
                )
        return found

    @contextlib.contextmanager
    def building(self) -> Iterator[Path | None]:
        """A fresh folder to write a snapshot into; None while another process builds one.

        Leftovers of a builder that died go first. A folder not published goes at the end.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with open(self.path / LOCK, "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            self._prune()
            folder = self.path / f"snapshot-{uuid.uuid4().hex[:12]}"
            folder.mkdir()
            try:
                yield folder
            finally:
                self._prune()

    def seal(self, folder: Path) -> tuple[FileSeal, ...]:
        """Sync every file of `folder` to disk and say what it must look like."""
        seals = []
        for path in sorted(folder.iterdir()):
            _sync(path)
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            seals.append(FileSeal(path.name, path.stat().st_size, _sample(path), digest))
        _sync(folder)
        return tuple(seals)

    def publish(self, snapshot: Snapshot, *, alone: bool = False) -> None:
        """Name `snapshot` the newest, or the only one; inside `building`."""
        entries = [snapshot] if alone else [snapshot, *self._readable()][:KEPT]
        manifest = {"format": FORMAT, "snapshots": [dataclasses.asdict(entry) for entry in entries]}
        written = self.path / f"{MANIFEST}.new"
        written.write_text(json.dumps(manifest, indent=1))
        _sync(written)
        written.replace(self.path / MANIFEST)
        _sync(self.path)

    def damage(self, snapshot: Snapshot, *, full: bool) -> list[str]:
        """What is wrong with the files of `snapshot`; `full` reads all of them."""
        found = []
        for seal in snapshot.files:
            path = self.path / snapshot.folder / seal.name
            if not path.is_file():
                found.append(f"{path} is missing")
            elif path.stat().st_size != seal.size:
                found.append(f"{path} has {path.stat().st_size} bytes, not {seal.size}")
            elif _sample(path) != seal.sample or (full and _digest(path) != seal.digest):
                found.append(f"{path} does not match its checksum")
        return found

    def _readable(self) -> list[Snapshot]:
        try:
            return self.snapshots()
        except StoreError:
            return []

    def _prune(self) -> None:
        """Remove every folder that the manifest does not name; inside `building`."""
        named = {snapshot.folder for snapshot in self._readable()}
        for folder in self.path.glob("snapshot-*"):
            if folder.name not in named:
                shutil.rmtree(folder)


def _snapshot(entry: dict[str, Any]) -> Snapshot:
    files = tuple(FileSeal(**seal) for seal in entry.pop("files"))
    return Snapshot(**entry, files=files)


def _sample(path: Path) -> str:
    size = path.stat().st_size
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for part in range(_SAMPLES):
            file.seek(max(0, size - _SAMPLE_BYTES) * part // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
