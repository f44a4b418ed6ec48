"""What every encoder is: text and pictures in, unit vectors out."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from django.core.checks import CheckMessage
    from PIL.Image import Image

Vectors: TypeAlias = NDArray[np.float32]
"""float32 (n, d), every row L2-normalised."""


class Modality(enum.StrEnum):
    """The two kinds of content an item has; each gets a vector of its own."""

    IMAGE = "image"
    TEXT = "text"


class EncoderError(Exception):
    """An encoder cannot be loaded or cannot encode; the message names the mend."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderDescription:
    """The identity of the vectors that an encoder makes.

    Two encoders with equal descriptions make interchangeable vectors; any difference opens
    another embedding space.
    """

    model: str
    """What the operator asked for: ``starter``, a hub name, or a directory's name."""
    revision: str
    """Digest of the weights (or the hub's commit), so that a changed file is a new space."""
    precision: str
    """``fp32`` or ``int8``."""
    preprocessing: str
    """Digest of everything between a picture or text and the network's input."""
    dimension: int
    """Length of a vector."""

    @property
    def fingerprint(self) -> str:
        """Hex digest over all fields: the key of the embedding space."""
        fields = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha256(fields.encode()).hexdigest()[:32]


def unit(vectors: Vectors) -> Vectors:
    """Every row of float32 (n, d) divided by its length, in place; zero rows stay zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    np.divide(vectors, lengths, out=vectors, where=lengths > 0)
    return vectors


class Encoder(ABC):
    """Turns texts and pictures into unit vectors of one space. Thread-safe.

    Constructing an encoder loads nothing: the first call (or :meth:`warm_up`) does, so that
    `manage.py migrate` never pays for a model. Each tower loads on its own first use.
    """

    modalities: frozenset[Modality] = frozenset(Modality)

    @abstractmethod
    def describe(self) -> EncoderDescription:
        """Identity of the vectors, read from the model's files without loading weights.

        Raises EncoderError where the model cannot be found.
        """

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.describe().dimension

    @abstractmethod
    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Encode texts; padded to the longest of the batch, cut at the model's context length.

        Returns float32 (len(texts), d), L2-normalised. Raises EncoderError.
        """

    @abstractmethod
    def encode_images(self, images: Sequence[Image]) -> Vectors:
        """Encode upright RGB pictures.

        Returns float32 (len(images), d), L2-normalised. Raises EncoderError.
        """

    def warm_up(self, modalities: frozenset[Modality] = frozenset(Modality)) -> None:
        """Load the named towers now and run each once."""
        if Modality.TEXT in modalities:
            self.encode_texts(["warm up"])
        if Modality.IMAGE in modalities:
            from PIL import Image

            self.encode_images([Image.new("RGB", (64, 64), "white")])

    def close(self) -> None:  # noqa: B027  nothing to release is the common case
        """Release the model's memory; a later call loads it again."""

    @abstractmethod
    def check(self) -> list[CheckMessage]:
        """System-check messages about this encoder's configuration; loads no model."""
