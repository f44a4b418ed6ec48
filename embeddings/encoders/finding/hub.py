"""A CLIP model's files from the model hub: only those needed, and never a long wait."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from embeddings.encoders.base import EncoderError

logger = logging.getLogger(__name__)

PATIENCE: Final = 5.0
"""Seconds to wait for the hub's first answer."""
CONFIGURATION: Final = (
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
)
SAFETENSORS: Final = ("model.safetensors", "model.safetensors.index.json", "model-*.safetensors")
PICKLED: Final = ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*.bin")


def cached_snapshots(name: str) -> Iterator[Path]:
    """Directories of earlier downloads, which may lack weights; no network is used."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    for weights in (SAFETENSORS, PICKLED):
        with contextlib.suppress(LocalEntryNotFoundError):
            yield Path(
                snapshot_download(
                    name, allow_patterns=[*CONFIGURATION, *weights], local_files_only=True
                )
            )


def download_snapshot(name: str) -> Path:
    """Download the model's current files with a progress bar and return their directory.

    Raises EncoderError where the hub does not answer in time or has no such model.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        info = HfApi().model_info(name, timeout=PATIENCE)
        files = [sibling.rfilename for sibling in info.siblings or []]
        safe = any(file in SAFETENSORS for file in files)
        logger.info("Downloading %s from the model hub.", name)
        path = snapshot_download(
            name,
            allow_patterns=[*CONFIGURATION, *(SAFETENSORS if safe else PICKLED)],
            etag_timeout=PATIENCE,
        )
    except GatedRepoError as exc:
        raise EncoderError(
            f"MMSEARCH_MODEL={name!r}: the hub asks for a login. Set HF_TOKEN, or set "
            f"MMSEARCH_MODEL=starter."
        ) from exc
    except RepositoryNotFoundError as exc:
        raise EncoderError(
            f"MMSEARCH_MODEL={name!r}: the hub has no such model. Check the name, or set "
            f"MMSEARCH_MODEL=starter."
        ) from exc
    except Exception as exc:
        raise EncoderError(
            f"MMSEARCH_MODEL={name!r} is not on this machine and the model hub cannot be reached "
            f"({type(exc).__name__}). Check the name and the network, or set "
            f"MMSEARCH_MODEL=starter."
        ) from exc
    return Path(path)
