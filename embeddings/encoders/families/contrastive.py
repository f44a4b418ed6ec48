"""What families share whose tokenizer and networks transformers reads without help."""

from __future__ import annotations

import functools
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from embeddings.encoders.base import Modality
from embeddings.encoders.families import texts
from embeddings.encoders.families.base import Checkpoint
from embeddings.encoders.serving.tokenization import Tokenization

if TYPE_CHECKING:
    import torch


class Contrastive(Checkpoint):
    """Two towers in one transformers model."""

    masks_padding: ClassVar[bool] = True

    @property
    @abstractmethod
    def positions(self) -> int:
        """Tokens that the text tower has positions for."""

    @functools.cached_property
    def _tokenizer(self) -> Any:
        return texts.load_tokenizer(self.directory)

    @property
    def tokenization(self) -> Tokenization:
        return texts.tokenization(self._tokenizer, self.positions, masks_padding=self.masks_padding)

    def serialised_tokenizer(self) -> str:
        return texts.serialised(self._tokenizer)

    def towers(self) -> dict[Modality, torch.nn.Module]:
        from embeddings.encoders.families import towers

        model = towers.load_model(self.directory)
        return {
            Modality.TEXT: self._text_tower(model),
            Modality.IMAGE: towers.ImageTower(model, self.preprocessing),
        }

    def _text_tower(self, model: Any) -> torch.nn.Module:
        from embeddings.encoders.families import towers

        return towers.TextTower(model) if self.masks_padding else towers.UnmaskedTextTower(model)
