"""Text models of sentence-transformers that were taught the space of another model's pictures.

Such a model has no picture tower: it is named together with the model whose pictures it belongs to.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from embeddings.encoders.base import EncoderError, Modality, Purpose
from embeddings.encoders.families import texts
from embeddings.encoders.families.base import (
    TOKENIZER_FILES,
    Checkpoint,
    read_json,
    weight_files,
)
from embeddings.encoders.finding.naming import CONFIGURATION, MODULES
from embeddings.encoders.serving.preprocessing import Preprocessing
from embeddings.encoders.serving.tokenization import Tokenization

if TYPE_CHECKING:
    import torch

LENGTH: Final = "sentence_bert_config.json"
PROMPTS: Final = "config_sentence_transformers.json"
ALIASES: Final = {Purpose.QUERY: ("query",), Purpose.DOCUMENT: ("document", "passage", "corpus")}
"""Names under which models keep their prompts."""
COUNTED_FROM_PADDING: Final = ("camembert", "roberta", "xlm-roberta")
"""Networks whose first position is the one after their padding's."""


class SentenceTransformers(Checkpoint):
    """A transformer, its tokens pooled, and layers behind it; the pictures of another model."""

    model_type = "sentence-transformers"

    def __init__(
        self, directory: Path, config: Mapping[str, Any], pictures: Checkpoint | None
    ) -> None:
        super().__init__(directory, config)
        self._named_pictures = pictures

    @functools.cached_property
    def modules(self) -> list[tuple[str, Path]]:
        """Kind and directory of every module, in order."""
        found = [
            (str(module["type"]).rpartition(".")[2], self.directory / module["path"])
            for module in read_json(self.directory / MODULES)
        ]
        kinds = [kind for kind, _path in found]
        known = kinds[:2] == ["Transformer", "Pooling"] and {*kinds[2:]} <= {"Dense", "Normalize"}
        if not known:
            raise EncoderError(
                f"{self.directory / MODULES} lists {', '.join(kinds)}: only models of Transformer, "
                "Pooling, Dense and Normalize can be used."
            )
        return found

    @property
    def pictures(self) -> Checkpoint:
        """The model whose pictures are meant."""
        if self._named_pictures is None:
            raise EncoderError(
                f"{self.directory} has texts alone: name the model of its pictures behind a +, as "
                "in sentence-transformers/clip-ViT-B-32-multilingual-v1"
                "+openai/clip-vit-base-patch32."
            )
        if self._named_pictures.dimension != self.own_dimension:
            raise EncoderError(
                f"The texts of {self.directory} have {self.own_dimension} dimensions, the pictures "
                f"of {self._named_pictures.directory} have {self._named_pictures.dimension}: these "
                "two do not belong together."
            )
        return self._named_pictures

    @property
    def own_dimension(self) -> int:
        """Length of the vector of a text."""
        dense = [read_json(path / CONFIGURATION) for path in self._dense]
        config = {"hidden_size": self.config.get("dim"), **self.config}  # DistilBERT says dim
        dimension: int = dense[-1]["out_features"] if dense else config["hidden_size"]
        return dimension

    @property
    def dimension(self) -> int:
        return self.pictures.dimension

    @property
    def preprocessing(self) -> Preprocessing:
        return self.pictures.preprocessing

    @functools.cached_property
    def _tokenizer(self) -> Any:
        return texts.load_tokenizer(self._transformer)

    @property
    def tokenization(self) -> Tokenization:
        settings = self._settings(LENGTH)
        positions = self.config.get("max_position_embeddings", 512)
        if self.config.get("model_type") in COUNTED_FROM_PADDING:
            positions -= self.config.get("pad_token_id", 1) + 1
        return texts.tokenization(
            self._tokenizer,
            min(positions, settings.get("max_seq_length") or positions),
            lower=bool(settings.get("do_lower_case")),
            prompts=self._prompts(),
        )

    def _prompts(self) -> dict[Purpose, str]:
        settings = self._settings(PROMPTS)
        named: dict[str, str] = settings.get("prompts") or {}
        default = named.get(settings.get("default_prompt_name") or "", "")
        found = {
            purpose: next((named[name] for name in aliases if named.get(name)), default)
            for purpose, aliases in ALIASES.items()
        }
        return {purpose: prompt for purpose, prompt in found.items() if prompt}

    def serialised_tokenizer(self) -> str:
        return texts.serialised(self._tokenizer)

    def towers(self) -> dict[Modality, torch.nn.Module]:
        from embeddings.encoders.families import sentences, towers

        text = sentences.SentenceTower(
            towers.load_model(self._transformer),
            pooling=read_json(self.modules[1][1] / CONFIGURATION),
            dense=[(read_json(path / CONFIGURATION), path) for path in self._dense],
        )
        return {
            Modality.TEXT: text,
            Modality.IMAGE: self.pictures.towers()[Modality.IMAGE],
        }

    @functools.cached_property
    def weights(self) -> list[Path]:
        own = [self._transformer, *self._dense]
        return [path for directory in own for path in weight_files(directory)]

    @property
    def small_paths(self) -> list[Path]:
        own = [self.directory / name for name in (MODULES, LENGTH, PROMPTS)]
        parts = [path / CONFIGURATION for kind, path in self.modules if kind != "Normalize"]
        return [*own, *parts, *(self._transformer / name for name in TOKENIZER_FILES)]

    @property
    def _transformer(self) -> Path:
        return self.modules[0][1]

    @property
    def _dense(self) -> list[Path]:
        return [path for kind, path in self.modules if kind == "Dense"]

    def _settings(self, name: str) -> dict[str, Any]:
        try:
            settings: dict[str, Any] = read_json(self.directory / name)
        except FileNotFoundError:
            return {}
        return settings
