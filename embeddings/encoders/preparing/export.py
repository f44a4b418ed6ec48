"""Make a model ready for this machine: convert, quantise, prove, time, put in place.

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
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch

from embeddings.encoders.base import EncoderError, Modality, Purpose, Vectors
from embeddings.encoders.finding.model_files import ModelFiles, resolve_model
from embeddings.encoders.finding.prepared import (
    TEMPORARY,
    TOKENIZER,
    Prepared,
    PreparedTower,
    find_prepared,
    prepared_directory,
    write_source,
)
from embeddings.encoders.preparing import networks, trials
from embeddings.encoders.preparing.parity import Samples, demo_samples
from embeddings.encoders.serving.inputs import Inputs, Queue
from embeddings.encoders.serving.openvino_runtime import usable_processors
from embeddings.encoders.serving.openvino_towers import Compiled
from embeddings.encoders.serving.tokenization import Tokenizer
from embeddings.encoders.serving.torch_towers import TorchNetwork

Progress = Callable[[str], None]


def export_model(
    model: str,
    directory: Path,
    *,
    device: str = "cpu",
    precision: str | None = None,
    samples: Callable[[], Samples] = demo_samples,
    progress: Progress = lambda _message: None,
) -> Prepared:
    """Prepare the model anew for `device`.

    Each tower is served in the fastest precision that is close to torch on these samples; fp32 is
    always close. A `precision` that is given is served however close it is. Raises EncoderError.
    """
    files = resolve_model(model)
    with _lock(directory):
        return _Export(files, directory, device, samples(), progress).run(precision)


def export_missing(
    model: str,
    directory: Path,
    *,
    device: str = "cpu",
    precision: str | None = None,
    samples: Callable[[], Samples] = demo_samples,
    progress: Progress = lambda _message: None,
) -> None:
    """The same unless it is ready, perhaps by another process while this one waited."""
    files = resolve_model(model)
    with _lock(directory):
        if find_prepared(directory, files, device) is not None:
            return
        if Prepared.read(prepared_directory(directory, files, device)) is not None:
            write_source(directory, files, files.state)  # an equal copy was prepared before
            return
        _Export(files, directory, device, samples(), progress).run(precision)


@dataclasses.dataclass(frozen=True)
class _Export:
    """One run over one model; holds what the towers share."""

    files: ModelFiles
    models: Path
    device: str
    samples: Samples
    progress: Progress

    def run(self, precision: str | None) -> Prepared:
        for leftover in self.models.glob(f"{TEMPORARY}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        state = self.files.state
        folder = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=self.models))
        try:
            towers = {}
            for modality in self._torch:
                towers[modality] = self._tower(folder, modality, precision)
            prepared = self._keep(self._complete(folder, towers))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        write_source(self.models, self.files, state)
        self._say(f"ready, {prepared.summary}")
        return prepared

    def _tower(self, folder: Path, modality: Modality, precision: str | None) -> PreparedTower:
        """Try the precisions of one tower; the network of the best stays in `folder`."""
        others = [vectors for other, vectors in self._expected.items() if other != modality]
        found = []
        for name, run in self._candidates(folder, modality, precision):
            found.append(
                trials.judge(
                    name,
                    run,
                    self._waiting(modality),
                    self._expected[modality],
                    others,
                    insisted=precision is not None,
                )
            )
        self._say(f"{modality}: timing {', '.join(each.precision for each in found)}")
        inputs = self.samples.get(modality) or networks.SHORT_AND_LONG[modality][0]
        sizes = trials.SIZES if self.device == "cpu" else trials.CUDA_SIZES
        tower = trials.choose(found, modality, self._inputs, inputs, sizes)
        for trial in tower.trials:
            self._say(f"{modality} in {trial}")
        self._say(f"{modality} will run in {tower.precision}, {tower.batch} at a time")
        for path in folder.glob(f"{modality}.*.*"):
            if path.name.startswith(f"{modality}.{tower.precision}."):
                path.rename(folder / f"{modality}{path.suffix}")
            else:
                path.unlink()
        return tower

    def _candidates(
        self, folder: Path, modality: Modality, precision: str | None
    ) -> Iterator[tuple[str, trials.Run]]:
        """Runs of one tower in each precision that is tried."""
        if self.device != "cpu":
            for name in ("fp16", "fp32"):
                if precision in (None, name):
                    # Each its own weights: a network changes its precision in place.
                    network = self.files.checkpoint.towers()[modality]
                    yield name, TorchNetwork(network, name, self.device)
            return
        feeds = networks.calibration(self._inputs, modality, self.samples.get(modality, ()))
        full = networks.convert(self._torch[modality], modality, self._inputs)
        for name, make in networks.precisions().items():
            if precision in (None, name) and (feeds or name == "fp32"):
                self._say(f"{modality}: making {name}")
                path = folder / f"{modality}.{name}.xml"
                # Of a copy, which shares the weights: quantising changes a network in place.
                networks.save(make(full.clone(), feeds), path, name)
                yield name, Compiled(path, name, threads=usable_processors(), streams=1)

    def _complete(self, folder: Path, towers: Mapping[Modality, PreparedTower]) -> Prepared:
        checkpoint = self.files.checkpoint
        tokenizer = checkpoint.serialised_tokenizer()
        (folder / TOKENIZER).write_text(tokenizer, encoding="utf-8")
        precision = "/".join(sorted({tower.precision for tower in towers.values()}))
        prepared = Prepared(
            directory=folder,
            description=self.files.describe(precision),
            tokenization=checkpoint.tokenization,
            preprocessing=checkpoint.preprocessing,
            towers=towers,
        )
        prepared.write()
        return prepared

    def _keep(self, built: Prepared) -> Prepared:
        """Put the model in place by a rename, once everything is on disk."""
        final = prepared_directory(self.models, self.files, self.device)
        for path in built.directory.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        if final.exists():
            earlier = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=self.models))
            final.rename(earlier)
            built.directory.rename(final)
            shutil.rmtree(earlier, ignore_errors=True)
        else:
            built.directory.rename(final)
        return dataclasses.replace(built, directory=final)

    def _waiting(self, modality: Modality) -> Queue:
        return self._inputs.queue(modality, self.samples.get(modality, ()), Purpose.DOCUMENT)

    def _say(self, message: str) -> None:
        self.progress(f"Preparing {self.files.name}: {message}")

    @functools.cached_property
    def _inputs(self) -> Inputs:
        checkpoint = self.files.checkpoint
        tokenizer = Tokenizer(checkpoint.serialised_tokenizer(), checkpoint.tokenization)
        return Inputs(lambda: tokenizer, checkpoint.preprocessing)

    @functools.cached_property
    def _torch(self) -> Mapping[Modality, torch.nn.Module]:
        self._say("reading the weights")
        return self.files.checkpoint.towers()

    @functools.cached_property
    def _expected(self) -> dict[Modality, Vectors]:
        """Vectors of the samples by torch in full precision."""
        self._say("encoding samples in full precision")
        return {
            modality: trials.encode(TorchNetwork(network, "fp32", "cpu"), self._waiting(modality))
            for modality, network in self._torch.items()
        }


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
