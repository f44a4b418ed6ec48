"""The order of the items found: one score an item, comparable across modalities."""

from __future__ import annotations

import numpy as np

from embeddings.encoders.base import Modality, Vectors
from search.answer.query import SearchQuery
from search.index.space_index import SpaceIndex
from search.index.stores.base import Ids


def rank(
    index: SpaceIndex,
    query: SearchQuery,
    vectors: dict[Modality, Vectors],
    depth: int,
    allowed: Ids | None,
) -> list[tuple[int, float, Modality]]:
    """The `depth` best (item key, score, modality): an item's score is the better of its two.

    Scores are centred per modality (GR-CLIP, arXiv 2507.19054), so that pictures and captions
    compare. The union of each modality's `depth` best holds the `depth` best items.
    """
    best: dict[int, tuple[float, Modality]] = {}
    for modality in query.modalities(index.stores):
        store = index.stores[modality]
        vector = vectors[modality]
        centre = float(vector @ store.mean())
        (matches,) = store.search(vector[np.newaxis], depth, allowed_ids=allowed)
        for pk, score in zip(matches.ids.tolist(), matches.scores.tolist(), strict=True):
            centred = score - centre
            if pk not in best or centred > best[pk][0]:
                best[pk] = (centred, modality)
    ranked = sorted(best.items(), key=lambda entry: (-entry[1][0], entry[0]))
    return [(pk, score, modality) for pk, (score, modality) in ranked[:depth]]
