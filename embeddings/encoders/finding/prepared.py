"""Models made ready for this machine, as they lie on disk.

    <models>/<slug>-<revision>-<device>/   networks, tokenizer, manifest
    <models>/<slug>-<revision>.json        the files that this was made of, by size and time
    <a model's own folder>/prepared/       the same for processors, where the model came with it

A directory appears by one rename, so whoever sees it sees all of it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from embeddings.encoders.base import EncoderDescription, Modality
from embeddings.encoders.finding.model_files import ModelFiles
from embeddings.encoders.serving.preprocessing import Preprocessing
from embeddings.encoders.serving.tokenization import Tokenization

FORMAT: Final = 2
"""Counted up when the networks change: models prepared by older code are prepared again."""
MANIFEST: Final = "manifest.json"
TOKENIZER: Final = "tokenizer.json"
SHIPPED: Final = "prepared"
TEMPORARY: Final = ".preparing-"
"""How the name of a directory begins while a model is prepared in it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """One precision of one tower, tried on this machine; milliseconds are medians."""

    precision: str
    parity: str
    """Against torch in full precision, in words."""
    accepted: bool
    single_ms: float
    """One input alone."""
    batch: int
    """Inputs a run sees where each took least."""
    batched_ms: float
    """One input of such a run."""

    def __str__(self) -> str:
        verdict = "" if self.accepted else ", too far"
        return (
            f"{self.precision} {self.single_ms:.1f} ms alone, {self.batched_ms:.1f} ms each of"
            f" {self.batch} ({self.parity}{verdict})"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreparedTower:
    """How the network of one modality is served."""

    precision: str
    batch: int
    """Inputs that a run sees at most."""
    trials: tuple[Trial, ...]
    """What it was chosen from."""

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> PreparedTower:
        trials = tuple(Trial(**trial) for trial in fields["trials"])
        return cls(precision=fields["precision"], batch=fields["batch"], trials=trials)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared:
    """Everything that serving needs to know of a prepared model."""

    directory: Path
    description: EncoderDescription
    tokenization: Tokenization
    preprocessing: Preprocessing
    towers: Mapping[Modality, PreparedTower]

    @classmethod
    def read(cls, directory: Path) -> Prepared | None:
        """None where there is no manifest of this format."""
        manifest = _read_json(directory / MANIFEST)
        if manifest is None or manifest.get("format") != FORMAT:
            return None
        return cls(
            directory=directory,
            description=EncoderDescription.from_json(manifest["description"]),
            tokenization=Tokenization.from_json(manifest["tokenization"]),
            preprocessing=Preprocessing.from_json(manifest["preprocessing"]),
            towers={
                Modality(name): PreparedTower.from_json(fields)
                for name, fields in manifest["towers"].items()
            },
        )

    def write(self) -> None:
        """Write the manifest: from now on the directory is complete."""
        manifest = {
            "format": FORMAT,
            "description": dataclasses.asdict(self.description),
            "tokenization": self.tokenization.to_json(),
            "preprocessing": self.preprocessing.to_json(),
            "towers": {name: dataclasses.asdict(tower) for name, tower in self.towers.items()},
        }
        _write_json(self.directory / MANIFEST, manifest)

    def network(self, modality: Modality) -> Path:
        """The file of a tower; its weights lie beside it."""
        return self.directory / f"{modality}.xml"

    @property
    def summary(self) -> str:
        """What each tower runs in."""
        return ", ".join(f"{name} in {tower.precision}" for name, tower in self.towers.items())


def prepared_directory(models: Path, files: ModelFiles, device: str) -> Path:
    return models / f"{_stem(files)}-{device}"


def find_prepared(models: Path, files: ModelFiles, device: str) -> Prepared | None:
    """The model of exactly these files as prepared for `device`, `cpu` or `cuda`.

    It is found by sizes and times of the files, without reading weights. Where none was prepared,
    what came with the model is taken.
    """
    for path in sorted(models.glob(f"{slug(files.name)}-*.json")):
        source = _read_json(path)
        if source is not None and source.get("state") == files.state:
            prepared = Prepared.read(path.with_name(f"{path.stem}-{device}"))
            if prepared is not None:
                return prepared
    shipped = Prepared.read(files.directory / SHIPPED) if device == "cpu" else None
    if shipped is None or shipped.description != files.describe(shipped.description.precision):
        return None
    return shipped


def find_revision(models: Path, revision: str, device: str) -> Prepared | None:
    """What is prepared of a revision, whatever became of the files that it was made of."""
    if not revision:
        return None
    for path in sorted(models.glob(f"[!.]*-{revision[:12]}-{device}")):
        prepared = Prepared.read(path)
        if prepared is not None and prepared.description.revision == revision:
            return prepared
    return None


def keep(models: Path, prepared: Prepared) -> Prepared:
    """What came with a model, copied to where updates of the model leave it alone."""
    described = prepared.description
    if prepared.directory.parent == models:
        return prepared
    kept = models / f"{slug(described.model)}-{described.revision[:12]}-cpu"
    models.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=models))
    try:
        shutil.copytree(prepared.directory, draft, dirs_exist_ok=True)
        draft.rename(kept)
    except OSError:  # another process was first, or the disk is full
        shutil.rmtree(draft, ignore_errors=True)
    return Prepared.read(kept) or prepared


def write_source(models: Path, files: ModelFiles, state: list[list[str | int]]) -> None:
    """Say that files in `state` are those of this revision."""
    _write_json(models / f"{_stem(files)}.json", {"state": state})


def slug(name: str) -> str:
    """A model's name as part of a file name."""
    return re.sub(r"[^A-Za-z0-9._]+", "_", name).strip("._") or "model"


def _write_json(path: Path, value: dict[str, Any]) -> None:
    """Replace a JSON file in one step, on disk before it is named."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _stem(files: ModelFiles) -> str:
    return f"{slug(files.name)}-{files.revision[:12]}"


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
