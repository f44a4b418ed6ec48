"""The families that are known, by what transformers calls them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from embeddings.encoders.base import EncoderError
from embeddings.encoders.families.base import CONFIGURATION, Checkpoint, read_json
from embeddings.encoders.families.clip import Clip

FAMILIES: Final[dict[str, type[Checkpoint]]] = {family.model_type: family for family in (Clip,)}


def open_checkpoint(directory: Path) -> Checkpoint:
    """The model in `directory`. Raises EncoderError where there is none of a known family."""
    path = directory / CONFIGURATION
    try:
        config = read_json(path)
    except FileNotFoundError:
        raise EncoderError(f"{directory} is no model directory: it has no config.json.") from None
    model_type = config.get("model_type") if isinstance(config, dict) else None
    family = FAMILIES.get(str(model_type))
    if family is None:
        raise EncoderError(
            f"{path} describes a model of type {model_type!r}, which is none of the families that "
            f"can be used: {', '.join(sorted(FAMILIES))}."
        )
    return family(directory, config)
