"""What every encoder is: inputs of a modality in, unit vectors out."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from django.core.checks import CheckMessage

Vectors: TypeAlias = NDArray[np.float32]
"""float32 (n, d), every row L2-normalised."""


VECTORS: Final = 1
"""Counted up when code changes what vectors a model makes: all are then made anew."""


class Modality(enum.StrEnum):
    """The kinds of content that encoders know; each of an item's gets a vector of its own."""

    IMAGE = "image"
    """Its inputs are upright RGB pictures (`PIL.Image.Image`)."""
    TEXT = "text"
    """Its inputs are strings; what is longer than the model's context is cut."""


class Purpose(enum.StrEnum):
    """What a vector is for: some models read a query otherwise than what it is to find."""

    DOCUMENT = "document"
    QUERY = "query"


class EncoderError(Exception):
    """An encoder cannot be loaded or cannot encode; the message names the mend."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderDescription:
    """What an encoder is, and with that the identity of the vectors that it makes.

    Encoders of equal fingerprints make interchangeable vectors; any other opens another embedding
    space.
    """

    model: str
    """What the operator asked for: ``starter``, a hub name, or a directory's name."""
    revision: str
    """Digest of the weights (or the hub's commit), so that a changed file is a new space."""
    precision: str
    """What its networks compute in, like ``int8`` or ``bf16/int8``: close to fp32, as proved."""
    preprocessing: str
    """Digest of everything between a picture or text and the network's input."""
    dimension: int
    """Length of a vector."""
    modalities: tuple[Modality, ...] = (Modality.IMAGE, Modality.TEXT)
    """What the encoder covers."""

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> EncoderDescription:
        """The description whose `dataclasses.asdict` was written as JSON."""
        described = cls(**fields)
        modalities = tuple(Modality(name) for name in described.modalities)
        return dataclasses.replace(described, modalities=modalities)

    @property
    def fingerprint(self) -> str:
        """Hex digest of what makes vectors what they are: the key of the embedding space.

        The machine is not part of it, nor the precision that is fastest there.
        """
        identity = json.dumps([self.model, self.revision, self.dimension, VECTORS])
        return hashlib.sha256(identity.encode()).hexdigest()[:32]


def unit(vectors: Vectors) -> Vectors:
    """Every row of float32 (n, d) divided by its length, in place; zero rows stay zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    np.divide(vectors, lengths, out=vectors, where=lengths > 0)
    return vectors


class Encoder(ABC):
    """Turns inputs of its modalities into unit vectors of one space. Thread-safe.

    Constructing an encoder loads nothing: the first call (or :meth:`warm_up`) does, so that
    `manage.py migrate` never pays for a model. Each tower loads on its own first use.
    """

    @abstractmethod
    def describe(self) -> EncoderDescription:
        """Identity of the vectors, read from the model's files without loading weights.

        Raises EncoderError where the model cannot be found.
        """

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.describe().dimension

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What it covers."""
        return self.describe().modalities

    @abstractmethod
    def encode(
        self, modality: Modality, inputs: Sequence[Any], *, purpose: Purpose = Purpose.DOCUMENT
    ) -> Vectors:
        """Encode any number of inputs of one of its modalities; what they are, `Modality` says.

        Returns float32 (len(inputs), d), L2-normalised. Raises EncoderError.
        """

    def ready(self, modality: Modality, value: Any) -> Any:
        """What :meth:`encode` also takes for an input: the smaller, the more of it may wait.

        Of a picture that has been resized a fifth is left. Raises EncoderError.
        """
        del modality
        return value

    def pieces(self, words: Sequence[str]) -> list[int] | None:
        """Into how many tokens the model cuts each word; None where it reads no words.

        One that it has never met falls into many.
        """
        del words
        return None

    def warm_up(self, modalities: Collection[Modality] | None = None) -> None:
        """Load the towers of these modalities, by default of all, and run each once."""
        for modality in self.modalities if modalities is None else modalities:
            self.encode(modality, [EXAMPLES[modality]()])

    @abstractmethod
    def check(self) -> list[CheckMessage]:
        """System-check messages about this encoder's configuration; loads no model."""


def _white_picture() -> Any:
    from PIL import Image

    return Image.new("RGB", (64, 64), "white")


EXAMPLES: dict[Modality, Callable[[], Any]] = {
    Modality.IMAGE: _white_picture,
    Modality.TEXT: lambda: "warm up",
}
"""An input of each modality."""
