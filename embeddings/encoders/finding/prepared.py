"""Models made ready for ONNX Runtime, as they lie on disk.

    <models>/<slug>-<revision>-<precision>/   towers, tokenizer, manifest; never changed again
    <models>/<slug>-<revision>.json           which precision `auto` takes, why, for which files
    <a model's own folder>/prepared/          the same towers, where the model came with them

A directory appears by one rename, so whoever sees it sees all of it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path
from typing import Any, Final

from embeddings.encoders.base import EncoderDescription, EncoderError
from embeddings.encoders.finding.model_files import ModelFiles
from embeddings.encoders.serving.preprocessing import Preprocessing

FORMAT: Final = 1
"""Counted up when the graphs change: models prepared by older code are prepared again."""
PRECISIONS: Final = ("auto", "fp32", "int8")
MANIFEST: Final = "manifest.json"
TEXT_TOWER: Final = "text.onnx"
IMAGE_TOWER: Final = "image.onnx"
TOKENIZER: Final = "tokenizer.json"
SHIPPED: Final = "prepared"
TEMPORARY: Final = ".preparing-"
"""How the name of a directory begins while a model is prepared in it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared:
    """Everything that serving needs to know of a prepared model."""

    directory: Path
    description: EncoderDescription
    preprocessing: Preprocessing
    context_length: int
    eos_token_id: int

    @classmethod
    def read(cls, directory: Path) -> Prepared | None:
        """None where there is no manifest of this format."""
        manifest = _read_json(directory / MANIFEST)
        if manifest is None or manifest.get("format") != FORMAT:
            return None
        return cls(
            directory=directory,
            description=EncoderDescription.from_json(manifest["description"]),
            preprocessing=Preprocessing.from_json(manifest["preprocessing"]),
            context_length=manifest["context_length"],
            eos_token_id=manifest["eos_token_id"],
        )

    def write(self) -> None:
        """Write the manifest: from now on the directory is complete."""
        manifest = {
            "format": FORMAT,
            "description": dataclasses.asdict(self.description),
            "preprocessing": self.preprocessing.to_json(),
            "context_length": self.context_length,
            "eos_token_id": self.eos_token_id,
        }
        _write_json(self.directory / MANIFEST, manifest)


def prepared_directory(models: Path, files: ModelFiles, precision: str) -> Path:
    return models / f"{_stem(files)}-{precision}"


def find_prepared(models: Path, files: ModelFiles, precision: str) -> Prepared | None:
    """The prepared model of exactly these files; `auto` takes the precision that was chosen.

    The choice remembers sizes and times of the files it was made for, so that it is found without
    reading weights. Where none was made, the towers that came with the model are taken.
    """
    for path in sorted(models.glob(f"{slug(files.name)}-*.json")):
        choice = _read_json(path)
        if choice is not None and choice.get("state") == files.state:
            chosen = choice["precision"] if precision == "auto" else precision
            return Prepared.read(path.with_name(f"{path.stem}-{chosen}"))
    shipped = Prepared.read(files.directory / SHIPPED)
    if shipped is None or precision not in ("auto", shipped.description.precision):
        return None
    same = shipped.description == files.describe(shipped.description.precision)
    return shipped if same else None


def write_choice(
    models: Path,
    files: ModelFiles,
    *,
    state: list[list[str | int]],
    precision: str | None,
    reason: str,
) -> None:
    """Say that files in `state` are prepared, and which precision `auto` takes.

    With `precision` None an earlier choice stays.
    """
    path = models / f"{_stem(files)}.json"
    choice: dict[str, Any] = {"precision": precision, "reason": reason}
    if precision is None:
        choice = _read_json(path) or choice
    _write_json(path, choice | {"state": state})


def slug(name: str) -> str:
    """A model's name as part of a file name."""
    return re.sub(r"[^A-Za-z0-9._]+", "_", name).strip("._") or "model"


def check_precision(precision: str) -> None:
    if precision not in PRECISIONS:
        raise EncoderError(
            f"Precision {precision!r} is unknown: choose one of {', '.join(PRECISIONS)}."
        )


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
