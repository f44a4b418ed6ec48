"""A query as what can be searched for: vectors, words, and what must not be in the answer."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from catalog.models import Item
from embeddings.encoders.base import Modality, Vectors
from embeddings.parts import PARTS
from embeddings.query_vectors import encode_query
from search.answer.query import QueryError, SearchQuery, Term
from search.index.space_index import SpaceIndex
from search.index.stores.base import StoreError

ByModality = Mapping[Modality, Vectors]
"""A unit vector, float32 (d,), for each modality that is searched."""


class UnknownItem(LookupError):  # noqa: N818  what the caller named
    """The item to resemble does not exist, or has no vector yet."""


@dataclasses.dataclass(frozen=True, eq=False)
class Question:
    """What a query asks of the stores and of the words."""

    vectors: ByModality
    """What is looked for."""
    pushed: tuple[tuple[float, ByModality], ...]
    """Weights above 0, and what is pushed down by them."""
    words_share: float
    """The words' share in what is looked for."""
    left_out: tuple[int, ...]
    """Keys of the items that the query names itself."""


def understand(query: SearchQuery, index: SpaceIndex) -> Question:
    """Encode the terms.

    Raises EncoderError, QueryAbandoned, UnknownItem, and QueryError for what the space has not.
    """
    items = _items(query.terms)
    encoded = [(term, _vectors(term, query, index, items)) for term in query.terms]
    wanted = [(term.weight, vectors) for term, vectors in encoded if term.weight > 0]
    texts = sum(term.weight for term in query.terms if term.weight > 0 and term.text)
    return Question(
        vectors={
            modality: _unit(np.sum([w * vectors[modality] for w, vectors in wanted], axis=0))
            for modality in query.modalities(index.space)
        },
        pushed=tuple((-term.weight, vectors) for term, vectors in encoded if term.weight < 0),
        words_share=texts / sum(weight for weight, _ in wanted),
        left_out=tuple(sorted({item.pk for item in items.values()})),
    )


def _items(terms: Sequence[Term]) -> dict[str, Item]:
    names = {term.item for term in terms if term.item}
    items = {item.item_id: item for item in Item.objects.filter(item_id__in=names)} if names else {}
    for name in sorted(names - items.keys()):
        raise UnknownItem(f"There is no item {name!r}.")
    return items


def _vectors(
    term: Term, query: SearchQuery, index: SpaceIndex, items: Mapping[str, Item]
) -> ByModality:
    if term.item:
        own = _own_vectors(index, items[term.item].pk)
        any_own = next(iter(own.values()))
        # Each looks among those of its own modality; where it lacks one, another looks there too.
        return {each: own.get(each, any_own) for each in query.modalities(index.space)}
    if term.image is not None:
        modality, field = Modality.IMAGE, "image"
    else:
        modality, field = Modality.TEXT, "text"
    if modality not in index.space.covers:
        raise QueryError(field, f"{index.space} cannot be asked by {PARTS[modality].plural}.")
    vector = encode_query(index.space, modality, term.text if term.image is None else term.image)
    return dict.fromkeys(query.modalities(index.space), vector)


def _own_vectors(index: SpaceIndex, pk: int) -> dict[Modality, Vectors]:
    own: dict[Modality, Vectors] = {}
    for modality, store in index.stores.items():
        with contextlib.suppress(StoreError):  # the item lacks this modality
            own[modality] = store.fetch(np.array([pk]))[0]
    if not own:
        raise UnknownItem("This item has no vector yet: it is pending or failed.")
    return own


def _unit(vector: Vectors) -> Vectors:
    length = float(np.linalg.norm(vector))
    return (vector / length if length else vector).astype(np.float32)
