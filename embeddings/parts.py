"""What an item has of each modality. Whatever else there is goes over the modalities of a space."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Final

from catalog.ingest.images import open_preview
from catalog.models import Item
from embeddings.encoders.base import Modality


@dataclasses.dataclass(frozen=True)
class Part:
    """How one modality of an item is known, read and called."""

    name: str
    """What people call it; its plural ends in `s`."""
    hash_field: str
    """The column of Item with the digest of its input, empty where the item has none."""
    read: Callable[[Item], Any]
    """The encoder's input. Whatever it raises says why it cannot be read."""

    @property
    def plural(self) -> str:
        return f"{self.name}s"

    def hash_of(self, item: Item) -> str:
        """The digest of the item's input, empty where it has none."""
        digest: str = getattr(item, self.hash_field)
        return digest


PARTS: Final[dict[Modality, Part]] = {
    Modality.IMAGE: Part("picture", "image_hash", open_preview),
    Modality.TEXT: Part("caption", "caption_hash", lambda item: item.caption),
}
