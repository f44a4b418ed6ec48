"""Make a CLIP model ready for ONNX Runtime: export, quantise, prove, put in place.

Imports torch, so it runs in a process of its own: `preparing.prepare` starts one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx

from embeddings.encoders.base import EncoderError
from embeddings.encoders.families.clip import read_tokenizer
from embeddings.encoders.finding.model_files import ModelFiles, resolve_model
from embeddings.encoders.finding.prepared import (
    IMAGE_TOWER,
    TEMPORARY,
    TEXT_TOWER,
    TOKENIZER,
    Prepared,
    check_precision,
    find_prepared,
    prepared_directory,
    write_choice,
)
from embeddings.encoders.preparing.clip_graph import image_tower, text_tower
from embeddings.encoders.preparing.parity import (
    Encoded,
    Parity,
    Samples,
    compare,
    demo_samples,
    encode_samples,
)
from embeddings.encoders.preparing.transformers_encoder import TransformersEncoder
from embeddings.encoders.serving.onnx_towers import OnnxTowers

Progress = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Preparation:
    """A model that is ready, and why it is in the precision it is in."""

    prepared: Prepared
    reason: str


def export_model(
    model: str,
    directory: Path,
    *,
    precision: str = "auto",
    samples: Callable[[], Samples] = demo_samples,
    progress: Progress = lambda _message: None,
) -> Preparation:
    """Prepare the model and decide its precision anew on these samples.

    `auto` keeps int8 only where it is close to torch; `fp32` and `int8` are kept in any case. What
    was decided is what `auto` means from now on. Raises EncoderError.
    """
    check_precision(precision)
    files = resolve_model(model)
    with _lock(directory):
        state = files.state
        done = _Export(files, directory, samples(), progress).run(precision)
        chosen = done.prepared.description.precision
        write_choice(directory, files, state=state, precision=chosen, reason=done.reason)
    progress(f"{files.name} is ready in {chosen}: {done.reason}")
    return done


def export_missing(
    model: str,
    directory: Path,
    *,
    precision: str,
    samples: Callable[[], Samples] = demo_samples,
    progress: Progress = lambda _message: None,
) -> None:
    """Prepare the model unless it is ready, perhaps by another process while this one waited.

    A precision that was insisted on is added beside what `auto` means. Raises EncoderError.
    """
    files = resolve_model(model)
    with _lock(directory):
        if find_prepared(directory, files, precision) is not None:
            return
        state = files.state
        done = _Export(files, directory, samples(), progress).run(precision)
        chosen = done.prepared.description.precision if precision == "auto" else None
        write_choice(directory, files, state=state, precision=chosen, reason=done.reason)
    progress(f"{files.name} is ready in {done.prepared.description.precision}: {done.reason}")


@dataclasses.dataclass(frozen=True)
class _Export:
    """One run over one model; holds what the candidates share."""

    files: ModelFiles
    models: Path
    samples: Samples
    progress: Progress

    def run(self, precision: str) -> Preparation:
        for leftover in self.models.glob(f"{TEMPORARY}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        self.progress(f"Preparing {self.files.name}: reading the weights")
        if precision == "fp32":
            return self._fp32("fp32 was asked for")
        with self._candidate("int8") as built:
            parity = self._parity(built)
            if precision == "int8":
                return Preparation(self._keep(built), f"int8 was asked for: {parity}")
            if parity.is_close:
                return Preparation(self._keep(built), f"int8 is close to torch: {parity}")
        return self._fp32(f"int8 is too far from torch: {parity}")

    def _fp32(self, reason: str) -> Preparation:
        with self._candidate("fp32") as built:
            parity = self._parity(built)
            if parity.count and not parity.is_exact:
                raise EncoderError(
                    f"The export of {self.files.name} differs from torch ({parity}): use the "
                    "encoder backend TransformersEncoder."
                )
            return Preparation(self._keep(built), reason)

    def _parity(self, built: Prepared) -> Parity:
        precision = built.description.precision
        self.progress(f"Preparing {self.files.name}: comparing {precision} with torch")
        got = encode_samples(OnnxTowers(built, "cpu"), self.samples)
        parity = compare(self._expected, got)
        self.progress(f"Preparing {self.files.name}: {precision}: {parity}")
        return parity

    @functools.cached_property
    def _reference(self) -> TransformersEncoder:
        return TransformersEncoder(str(self.files.directory), device="cpu")

    @functools.cached_property
    def _expected(self) -> Encoded:
        return encode_samples(self._reference, self.samples)

    @contextlib.contextmanager
    def _candidate(self, precision: str) -> Iterator[Prepared]:
        """The model in a directory that is removed at the end, unless it was kept."""
        existing = Prepared.read(prepared_directory(self.models, self.files, precision))
        if existing is not None:
            yield existing
            return
        built = Prepared(
            directory=Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=self.models)),
            description=self.files.describe(precision),
            preprocessing=self.files.checkpoint.preprocessing,
            context_length=self.files.config.context_length,
            eos_token_id=self.files.config.eos_token_id,
        )
        try:
            self._write(built)
            yield built
        finally:
            shutil.rmtree(built.directory, ignore_errors=True)

    def _write(self, built: Prepared) -> None:
        precision, config = built.description.precision, self.files.config
        self.progress(f"Preparing {self.files.name}: writing {precision} towers")
        weights = self._reference.state_dict()
        text = text_tower(weights, config, precision=precision)
        image = image_tower(weights, config, built.preprocessing, precision=precision)
        _save(text, built.directory / TEXT_TOWER)
        _save(image, built.directory / IMAGE_TOWER)
        tokenizer = read_tokenizer(self.files.directory)
        (built.directory / TOKENIZER).write_text(tokenizer, encoding="utf-8")
        built.write()

    def _keep(self, built: Prepared) -> Prepared:
        """Put a candidate in place by a rename, once everything is on disk."""
        final = prepared_directory(self.models, self.files, built.description.precision)
        if built.directory != final:
            for path in built.directory.iterdir():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            shutil.rmtree(final, ignore_errors=True)  # of another format, or without a manifest
            built.directory.rename(final)
        return dataclasses.replace(built, directory=final)


def _save(model: onnx.ModelProto, path: Path) -> None:
    """Weights beside the graph: a protobuf ends at 2 GB, and a file is mapped, not copied."""
    onnx.save(model, path, save_as_external_data=True, location=f"{path.name}.weights")


@contextlib.contextmanager
def _lock(directory: Path) -> Iterator[None]:
    """Only one process prepares at a time; the lock dies with its holder."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
    except OSError as exc:
        raise EncoderError(
            f"Prepared models cannot be written to {directory} ({exc}): make it writable, or set "
            f"MMSEARCH_DATA_DIR."
        ) from exc
