"""A model's files from the model hub: only those needed, and never a long wait."""

from __future__ import annotations

import fnmatch
import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from embeddings.encoders.base import EncoderError
from embeddings.encoders.families.base import PICTURE_FILES, TOKENIZER_FILES
from embeddings.encoders.families.sentence_transformers import LENGTH, PROMPTS
from embeddings.encoders.finding.naming import CONFIGURATION, MODULES

logger = logging.getLogger(__name__)

PATIENCE: Final = 5.0
"""Seconds to wait for the hub's first answer."""
SMALL: Final = (CONFIGURATION, *PICTURE_FILES, *TOKENIZER_FILES, MODULES, LENGTH, PROMPTS)
SAFETENSORS: Final = ("model.safetensors", "model.safetensors.index.json", "model-*.safetensors")
PICKLED: Final = ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*.bin")
MODULE: Final = re.compile(r"\d+_\w+")
"""How sentence-transformers calls the directories of a model's parts."""


def cached_snapshot(name: str, files: Iterable[str]) -> Path | None:
    """The directory of an earlier download; None where it lacks one of `files` that the hub has.

    Without a list of the hub's files nothing is known to lack. No network is used.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=[*files], local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def needed(files: Iterable[str]) -> list[str]:
    """What of a model's files is needed: in each directory the safe weights, or else the others."""
    directories: dict[str, list[str]] = {}
    for file in files:
        directory, _slash, name = file.rpartition("/")
        if not directory or MODULE.fullmatch(directory):
            directories.setdefault(directory, []).append(name)
    chosen = []
    for directory, names in directories.items():
        weights = SAFETENSORS if any(name in SAFETENSORS for name in names) else PICKLED
        found = [n for n in names if any(fnmatch.fnmatch(n, p) for p in (*SMALL, *weights))]
        chosen += [f"{directory}/{name}" if directory else name for name in found]
    return chosen


def download_snapshot(name: str) -> Path:
    """Download the model's current files with a progress bar and return their directory.

    Raises EncoderError where the hub does not answer in time or has no such model.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        info = HfApi().model_info(name, timeout=PATIENCE)
        files = [sibling.rfilename for sibling in info.siblings or []]
        logger.info("Downloading %s from the model hub.", name)
        path = snapshot_download(
            name,
            allow_patterns=needed(files),
            etag_timeout=PATIENCE,
        )
    except GatedRepoError as exc:
        raise EncoderError(
            f"The hub asks for a login before it gives {name!r}: set HF_TOKEN, or take `starter`."
        ) from exc
    except RepositoryNotFoundError as exc:
        raise EncoderError(
            f"The hub has no model {name!r}: check the name, or take `starter`."
        ) from exc
    except Exception as exc:
        raise EncoderError(
            f"The model {name!r} is not on this machine and the model hub cannot be reached "
            f"({type(exc).__name__}): check the name and the network, or take `starter`."
        ) from exc
    return Path(path)
