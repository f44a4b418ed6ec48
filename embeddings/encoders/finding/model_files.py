"""From what `MMSEARCH_MODEL` says to the files of a model."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

from embeddings.encoders.base import EncoderDescription, EncoderError
from embeddings.encoders.families.base import Checkpoint
from embeddings.encoders.families.registry import open_checkpoint
from embeddings.encoders.finding.naming import (
    CONFIGURATION,
    HUB_NAME,
    MODULES,
    PAIR,
    STARTER,
    as_path,
    halves,
    misnamed,
)

STARTER_DIRECTORY: Final = Path(__file__).resolve().parents[2] / "starter"


@dataclasses.dataclass(frozen=True)
class ModelFiles:
    """One model on this machine's disk."""

    name: str
    """What the operator asked for; of a directory its own name."""
    directory: Path
    pictures: ModelFiles | None = None
    """Of a text model the model whose pictures it was named with."""

    @functools.cached_property
    def checkpoint(self) -> Checkpoint:
        """The model as its family reads it. Raises EncoderError where no family does."""
        return open_checkpoint(self.directory, self.pictures.checkpoint if self.pictures else None)

    @property
    def is_complete(self) -> bool:
        """Whether every file of weights is here: a download may have been interrupted."""
        try:
            return all(path.is_file() for path in self.checkpoint.weights)
        except EncoderError:
            return False

    @property
    def names(self) -> list[str]:
        """Names of all files that the model may consist of, within its directory."""
        paths = [*self.checkpoint.weights, *self.checkpoint.small_paths]
        return [path.relative_to(self.directory).as_posix() for path in paths]

    @property
    def state(self) -> list[list[str | int]]:
        """[path, size, mtime in ns] of every file that decides the vectors.

        Equal states mean equal files, without reading them.
        """
        try:
            stats = [(str(path), path.stat()) for path in self.checkpoint.files]
        except OSError as exc:
            raise EncoderError(f"Cannot read the model's files: {exc}. Copy them again.") from exc
        own: list[list[str | int]] = [[path, s.st_size, s.st_mtime_ns] for path, s in stats]
        return own + self.pictures.state if self.pictures else own

    @property
    def revision(self) -> str:
        """Hex digest over weights, configuration and tokenizer.

        Of a hub's snapshot the hub's commit, which names the same files without reading them.
        """
        if self.pictures is not None:
            text = ModelFiles(self.name.partition(PAIR)[0], self.directory)
            both = f"{text.revision}{PAIR}{self.pictures.revision}"
            return hashlib.sha256(both.encode()).hexdigest()[:40]
        if self.directory.parent.name == "snapshots" and HUB_NAME.fullmatch(self.name):
            return self.directory.name
        return _digest(json.dumps(self.state))

    def describe(self, precision: str) -> EncoderDescription:
        """Identity of the vectors that this model makes in `precision`."""
        return EncoderDescription(
            model=self.name,
            revision=self.revision,
            precision=precision,
            preprocessing=self.checkpoint.preprocessing.digest,
            dimension=self.checkpoint.dimension,
        )


@functools.lru_cache(maxsize=8)
def _digest(state: str) -> str:
    """Digest of the contents of the files that `state` lists; a changed file is another key."""
    digest = hashlib.sha256()
    for path, _size, _changed in json.loads(state):
        with Path(path).open("rb") as file:
            digest.update(Path(path).name.encode())
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:40]


def located(model: str) -> str:
    """What a model is called so that it is found from any folder."""
    return PAIR.join(
        str(path.resolve()) if half and (path := as_path(half)).is_dir() else half
        for half in halves(model.strip())
    )


def is_here(model: str) -> bool:
    """Whether the model's files are on this machine, and can be read."""
    try:
        return local_files(model) is not None
    except EncoderError:
        return False


def local_files(model: str) -> ModelFiles | None:
    """The model's files where they are on this machine; None where a hub must be asked.

    Raises EncoderError where `model` names nothing usable. Never uses the network.
    """
    return _find(model, _local)


def resolve_model(model: str) -> ModelFiles:
    """The model's files, downloaded from the hub where they are not here yet.

    Raises EncoderError where `model` names nothing usable or the hub cannot be reached.
    """
    files = _find(model, lambda name: _local(name) or _downloaded(name))
    if files is None:
        raise AssertionError  # a download ends in files or in an error
    return files


def _find(model: str, find: Callable[[str], ModelFiles | None]) -> ModelFiles | None:
    """The files that `find` finds of a model, or of both halves of a pair, checked."""
    name = model.strip()
    if problem := misnamed(name):
        raise EncoderError(problem)
    found = [find(half) for half in halves(name)]
    if len(found) == 1:
        return found[0] and _checked(found[0])
    text, pictures = found
    if text is None or pictures is None:
        return None
    both = f"{text.name}{PAIR}{pictures.name}"
    return _checked(ModelFiles(both, text.directory, _checked(pictures)))


def _local(name: str) -> ModelFiles | None:
    """One model's files on this machine."""
    if name == STARTER:
        return ModelFiles(STARTER, STARTER_DIRECTORY)
    path = as_path(name)
    if path.is_dir():
        return ModelFiles(path.resolve().name, path.resolve())
    from embeddings.encoders.finding.hub import cached_snapshot

    snapshot = cached_snapshot(name, (CONFIGURATION, MODULES))
    if snapshot is None:
        return None
    files = ModelFiles(name, snapshot)
    return files if files.is_complete and cached_snapshot(name, files.names) else None


def _downloaded(name: str) -> ModelFiles:
    from embeddings.encoders.finding.hub import download_snapshot

    return ModelFiles(name, download_snapshot(name))


def _checked(files: ModelFiles) -> ModelFiles:
    """Raise now what would otherwise surface in the middle of a load."""
    files.checkpoint.weights  # noqa: B018  reading is the check
    files.checkpoint.preprocessing  # noqa: B018
    return files
