"""Make a CLIP model ready for ONNX Runtime: export, quantise, prove, put in place.

`python -m embeddings.encoders.prepare MODEL DIRECTORY PRECISION` does it without Django.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx

from embeddings.encoders.base import EncoderError
from embeddings.encoders.clip_graph import image_tower, text_tower
from embeddings.encoders.graph_builder import Weights
from embeddings.encoders.model_files import ModelFiles, resolve_model
from embeddings.encoders.onnx_towers import OnnxTowers
from embeddings.encoders.parity import Parity, Samples, compare, demo_samples
from embeddings.encoders.prepared import (
    IMAGE_TOWER,
    TEXT_TOWER,
    TOKENIZER,
    Prepared,
    check_precision,
    choice_file,
    find_prepared,
    prepared_directory,
    write_json,
)
from embeddings.encoders.tokenization import read_tokenizer

Progress = Callable[[str], None]
TEMPORARY = ".preparing-"


@dataclasses.dataclass(frozen=True)
class Preparation:
    """A model that is ready, and why it is in the precision it is in."""

    prepared: Prepared
    reason: str


def _silent(_message: str) -> None:
    pass


def ensure_prepared(
    model: str,
    directory: Path,
    *,
    precision: str = "auto",
    samples: Callable[[], Samples] = demo_samples,
    progress: Progress = _silent,
) -> Prepared:
    """The prepared model; prepared now where it is not yet. Safe from several processes.

    Raises EncoderError.
    """
    check_precision(precision)
    files = resolve_model(model)
    found = find_prepared(directory, files, precision)
    if found is not None:
        return found
    with _lock(directory):
        # Another process may have done it while this one waited.
        found = find_prepared(directory, files, precision)
        if found is not None:
            return found
        return _prepare(files, directory, precision, samples(), progress).prepared


def prepare(
    model: str,
    directory: Path,
    *,
    precision: str = "auto",
    samples: Callable[[], Samples] = demo_samples,
    progress: Progress = _silent,
) -> Preparation:
    """Prepare the model and choose its precision anew, on these samples.

    `auto` keeps int8 only where it is close to the reference, `int8` keeps it in any case.
    Raises EncoderError.
    """
    check_precision(precision)
    files = resolve_model(model)
    with _lock(directory):
        return _prepare(files, directory, precision, samples(), progress)


def _prepare(
    files: ModelFiles, models: Path, precision: str, samples: Samples, progress: Progress
) -> Preparation:
    # torch takes seconds to import: only now that it is needed.
    from embeddings.encoders.transformers_encoder import TransformersEncoder

    for leftover in models.glob(f"{TEMPORARY}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    state = files.state
    progress(f"Preparing {files.name}: reading weights")
    reference = TransformersEncoder(str(files.directory), device="cpu")
    weights = reference.state_dict()
    reason = "fp32 was asked for"
    for candidate in ("fp32",) if precision == "fp32" else ("int8", "fp32"):
        with _exported(files, models, weights, candidate, progress) as built:
            progress(f"Preparing {files.name}: comparing {candidate} with torch")
            parity = compare(reference, OnnxTowers(built, "cpu"), samples)
            progress(f"Preparing {files.name}: {candidate}: {parity}")
            if candidate == "int8":
                kept = precision == "int8" or parity.is_close
                reason = _verdict(parity, kept=kept, insisted=precision == "int8")
                if not kept:
                    continue
            elif samples.texts and samples.images and not parity.is_exact:
                raise EncoderError(
                    f"The export of {files.name} differs from torch ({parity}): use the encoder "
                    f"backend embeddings.encoders.transformers_encoder.TransformersEncoder."
                )
            final = prepared_directory(models, files, candidate)
            _put_in_place(built.directory, final)
        break
    choice = {"precision": candidate, "reason": reason, "state": state}
    write_json(choice_file(models, files), choice)
    progress(f"Preparing {files.name}: done, {candidate} ({reason})")
    prepared = Prepared.read(final)
    if prepared is None:
        raise EncoderError(f"{final} cannot be read back: check the disk, then try again.")
    return Preparation(prepared, reason)


def _verdict(parity: Parity, *, kept: bool, insisted: bool) -> str:
    if kept and not insisted:
        return f"int8 is close to torch: {parity}"
    if kept:
        return f"int8 was insisted on: {parity}"
    return f"int8 is too far from torch: {parity}"


@contextlib.contextmanager
def _exported(
    files: ModelFiles, models: Path, weights: Weights, precision: str, progress: Progress
) -> Iterator[Prepared]:
    """A prepared model in a temporary directory, removed at the end if it is still there."""
    built = Prepared(
        directory=Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=models)),
        description=files.describe(precision),
        preprocessing=files.preprocessing,
        context_length=files.config.context_length,
        eos_token_id=files.config.eos_token_id,
    )
    try:
        progress(f"Preparing {files.name}: writing {precision} towers")
        text = text_tower(weights, files.config, precision=precision)
        _save(text, built.directory / TEXT_TOWER)
        image = image_tower(weights, files.config, files.preprocessing, precision=precision)
        _save(image, built.directory / IMAGE_TOWER)
        tokenizer = read_tokenizer(files.directory)
        (built.directory / TOKENIZER).write_text(tokenizer, encoding="utf-8")
        built.write(built.directory)
        yield built
    finally:
        shutil.rmtree(built.directory, ignore_errors=True)


def _save(model: onnx.ModelProto, path: Path) -> None:
    """Weights beside the graph: a protobuf ends at 2 GB, and a file is mapped, not copied."""
    onnx.save(model, path, save_as_external_data=True, location=f"{path.name}.weights")


def _put_in_place(built: Path, final: Path) -> None:
    """Rename, once everything is on disk. An equal directory that is there already stays."""
    for path in built.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    if Prepared.read(final) is not None:
        return
    shutil.rmtree(final, ignore_errors=True)
    built.rename(final)


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


def main(arguments: list[str]) -> int:
    """Progress goes to standard error, a failure's message to standard output."""
    model, directory, precision = arguments
    try:
        ensure_prepared(
            model,
            Path(directory),
            precision=precision,
            progress=lambda message: print(message, file=sys.stderr, flush=True),  # noqa: T201
        )
    except EncoderError as exc:
        print(exc)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
