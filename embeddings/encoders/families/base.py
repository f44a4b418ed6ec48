"""What every family of models says of one of its checkpoints."""

from __future__ import annotations

import functools
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from embeddings.encoders.base import EncoderError, Modality
from embeddings.encoders.families import pictures
from embeddings.encoders.finding.naming import CONFIGURATION
from embeddings.encoders.serving.preprocessing import Preprocessing
from embeddings.encoders.serving.tokenization import Tokenization

if TYPE_CHECKING:
    import torch

WEIGHTS: Final = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""Names under which transformers keeps weights, best first; an index names its shards."""
PICTURE_FILES: Final = tuple(pictures.CONFIGURATIONS)
TOKENIZER_FILES: Final = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)


class Checkpoint(ABC):
    """One model in a directory, read as its family wants.

    Only :meth:`serialised_tokenizer`, :attr:`tokenization` and :meth:`towers` import slow
    libraries, and only the last reads weights. Everything raises EncoderError where files are
    missing or broken.
    """

    model_type: ClassVar[str]
    """What transformers calls the family in `config.json`."""
    small_files: ClassVar[tuple[str, ...]] = (CONFIGURATION, *TOKENIZER_FILES, *PICTURE_FILES)
    picture_defaults: ClassVar[Mapping[str, Any]] = pictures.CLIP
    """What the family's image processor does where its file is silent."""

    def __init__(self, directory: Path, config: Mapping[str, Any]) -> None:
        self.directory = directory
        self.config = config

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        dimension: int = self.config.get("projection_dim") or 512
        return dimension

    @functools.cached_property
    def preprocessing(self) -> Preprocessing:
        """How pictures become the image tower's input."""
        fields = {**self.picture_defaults, **pictures.read_configuration(self.directory)}
        return pictures.cropped(fields, self.image_config.get("image_size", 224))

    @property
    @abstractmethod
    def tokenization(self) -> Tokenization:
        """How texts become the text tower's input, by the tokenizer below."""

    @abstractmethod
    def serialised_tokenizer(self) -> str:
        """The model's tokenizer as JSON of the library tokenizers."""

    @abstractmethod
    def towers(self) -> dict[Modality, torch.nn.Module]:
        """The networks in full precision, ready to be evaluated.

        Their `forward` takes what `preprocessing.feeds`, or `Tokenizer.feeds`, give, by the same
        names and in the same order, and returns vectors (n, dimension) that are not normalised.
        """

    @functools.cached_property
    def weights(self) -> list[Path]:
        """The files that hold weights. Raises EncoderError where there are none."""
        return weight_files(self.directory)

    @property
    def small_paths(self) -> list[Path]:
        """Files besides the weights that decide the vectors where they are there."""
        return [self.directory / name for name in self.small_files]

    @property
    def files(self) -> list[Path]:
        """Every file that decides the vectors; the weights may still be missing."""
        return [*self.weights, *(path for path in self.small_paths if path.is_file())]

    @property
    def text_config(self) -> dict[str, Any]:
        return self._half("text_config")

    @property
    def image_config(self) -> dict[str, Any]:
        return self._half("vision_config")

    def _half(self, name: str) -> dict[str, Any]:
        # Older files repeat what differs from the defaults in *_config_dict, and that wins.
        return (self.config.get(name) or {}) | (self.config.get(f"{name}_dict") or {})


def weight_files(directory: Path) -> list[Path]:
    """The files of a directory that hold weights. Raises EncoderError where there are none."""
    for name in WEIGHTS:
        path = directory / name
        if path.is_file():
            if not name.endswith(".index.json"):
                return [path]
            shards = set(read_json(path)["weight_map"].values())
            return [directory / shard for shard in sorted(shards)]
    raise EncoderError(f"{directory} has no weights: put model.safetensors there.")


def read_json(path: Path) -> Any:
    """Raises EncoderError where the file is not JSON, FileNotFoundError where it is not there."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as exc:
        raise EncoderError(f"{path} is not JSON ({exc}): copy the model again.") from exc
