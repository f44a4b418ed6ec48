"""The families that are known, by what transformers calls them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from embeddings.encoders.base import EncoderError
from embeddings.encoders.families.altclip import AltClip
from embeddings.encoders.families.base import Checkpoint, read_json
from embeddings.encoders.families.chinese_clip import ChineseClip
from embeddings.encoders.families.clip import Clip
from embeddings.encoders.families.metaclip_2 import MetaClip2
from embeddings.encoders.families.sentence_transformers import SentenceTransformers
from embeddings.encoders.families.siglip import Siglip
from embeddings.encoders.families.siglip2 import Siglip2
from embeddings.encoders.finding.naming import CONFIGURATION, MODULES

FAMILIES: Final[dict[str, type[Checkpoint]]] = {
    family.model_type: family for family in (AltClip, ChineseClip, Clip, MetaClip2, Siglip, Siglip2)
}


def open_checkpoint(directory: Path, pictures: Checkpoint | None = None) -> Checkpoint:
    """The model in `directory`; of a text model with the pictures of another.

    Raises EncoderError where there is none of a known family.
    """
    if (directory / MODULES).is_file():
        modules = read_json(directory / MODULES)
        named = isinstance(modules, list) and all(
            isinstance(each, dict) and {"path", "type"} <= each.keys() for each in modules
        )
        if not (named and modules):
            raise EncoderError(f"{directory / MODULES} lists no modules: copy the model again.")
        if len(modules) == 1:  # a whole model of another family, one directory down
            return open_checkpoint(directory / modules[0]["path"], pictures)
        transformer = directory / modules[0]["path"]
        return SentenceTransformers(directory, _configuration(transformer), pictures)
    config = _configuration(directory)
    model_type = config.get("model_type")
    family = FAMILIES.get(str(model_type))
    if family is None:
        raise EncoderError(
            f"{directory / CONFIGURATION} describes a model of type {model_type!r}, which is none "
            f"of those that can be used: {', '.join(sorted(FAMILIES))}, and text models of "
            "sentence-transformers."
        )
    if pictures is not None:
        raise EncoderError(
            f"{directory} has pictures of its own: only a text model of sentence-transformers "
            "takes those of another model behind a +."
        )
    return family(directory, config)


def _configuration(directory: Path) -> dict[str, object]:
    try:
        config = read_json(directory / CONFIGURATION)
    except FileNotFoundError:
        raise EncoderError(f"{directory} is no model directory: it has no config.json.") from None
    return config if isinstance(config, dict) else {}
