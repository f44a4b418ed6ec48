"""Have a model ready for this machine, without torch in the asking process.

`python -m embeddings.encoders.preparing.prepare MODEL DIRECTORY DEVICE [PRECISION]` is what is run
instead: where the application starts it, on the catalogue's own captions and pictures.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from embeddings.encoders.base import EncoderError
from embeddings.encoders.finding.model_files import local_files, resolve_model
from embeddings.encoders.finding.prepared import Prepared, find_prepared

if TYPE_CHECKING:
    from embeddings.encoders.preparing.parity import Samples

Progress = Callable[[str], None]
PROJECT: Final = Path(__file__).resolve().parents[3]
LIBRARIES: Final = ("torch", "transformers", "nncf")


def ensure_prepared(
    model: str, directory: Path, *, device: str = "cpu", progress: Progress
) -> Prepared:
    """The prepared model; prepared now where it is not yet.

    Safe from several processes at once. Raises EncoderError.
    """
    files = local_files(model)
    prepared = find_prepared(directory, files, device) if files else None
    if prepared is None:
        require_libraries()  # before a download that would be in vain
        files = resolve_model(model)
        _prepare_in_child(model, directory, device, progress)
        prepared = find_prepared(directory, files, device)
    if prepared is None:
        raise EncoderError(
            f"The model {model!r} changed on disk while it was being prepared: try again."
        )
    return prepared


def missing_libraries() -> list[str]:
    """What preparing needs, serving does without, and is not installed."""
    return [name for name in LIBRARIES if importlib.util.find_spec(name) is None]


def require_libraries() -> None:
    """Raise EncoderError where libraries are missing."""
    if missing := missing_libraries():
        raise EncoderError(
            f"Preparing a model needs {', '.join(missing)}, which serving does without: run "
            "`make install-all`, then try again."
        )


def _prepare_in_child(model: str, directory: Path, device: str, progress: Progress) -> None:
    """Prepare in another process: torch is slow to import and would stay in memory."""
    command = [sys.executable, "-m", "embeddings.encoders.preparing.prepare"]
    arguments = [model, str(directory.resolve()), device]
    error = ""
    with subprocess.Popen(
        command + arguments, cwd=PROJECT, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as child:
        for line in child.stdout or ():
            message = json.loads(line)
            if "error" in message:
                error = message["error"]
            else:
                progress(message["progress"])
    if child.returncode:
        raise EncoderError(
            error
            or f"Preparing the model {model!r} stopped with code {child.returncode}: see the "
            f"messages above, then run `manage.py prepare_model {model}`."
        )


def main(arguments: list[str]) -> int:
    """Prepare where no other process has meanwhile; one JSON object a line to standard output."""
    from embeddings.encoders.preparing.export import export_missing

    def say(key: str, message: str) -> None:
        sys.stdout.write(json.dumps({key: message}) + "\n")
        sys.stdout.flush()

    model, directory, device, *insisted = arguments
    try:
        export_missing(
            model,
            Path(directory),
            device=device,
            precision=insisted[0] if insisted else None,
            samples=samples,
            progress=lambda message: say("progress", message),
        )
    except EncoderError as exc:
        say("error", str(exc))
        return 1
    return 0


def samples() -> Samples:
    """Of the catalogue, where there is one in the environment; else of the demo."""
    if "DJANGO_SETTINGS_MODULE" not in os.environ:
        from embeddings.encoders.preparing.parity import demo_samples

        return demo_samples()
    import django

    django.setup()
    from embeddings.samples import catalogue_samples

    return catalogue_samples()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
