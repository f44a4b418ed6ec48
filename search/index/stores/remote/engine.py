"""What a server does that searches vectors for us: it proposes, and is told what changed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from embeddings.spaces import SpaceError
from search.index.stores.base import Ids, Vectors

if TYPE_CHECKING:
    from django.core.checks import CheckMessage


class StoreUnavailable(SpaceError):  # noqa: N818  it is a state, and passes
    """The vector store does not answer now; nothing is lost, and it is asked again each time."""


class Engine(ABC):
    """The vectors of one space and modality on a server.

    What it finds are candidates: they are scored again from the database, which is the truth. So it
    may be approximate, may keep vectors less exactly, and may give ids that have gone. Thread-safe.
    Every method raises StoreUnavailable where the server does not answer.
    """

    most: ClassVar[int]
    """Candidates a search, at most."""
    exact_ids: ClassVar[int]
    """Of so many allowed ids, at most, it misses none."""

    def __init__(self, collection: str, dimension: int, *, address: str) -> None:
        self.collection = collection
        """Of no other space of this database, nor of another's."""
        self.dimension = dimension
        self.address = address
        """All of the setting MMSEARCH_VECTOR_STORE."""

    @abstractmethod
    def prepare(self) -> bool:
        """Make what vectors are written into, where it is not there; whether it was not."""

    @abstractmethod
    def write(self, ids: Ids, vectors: Vectors, removed: Ids) -> None:
        """Put vectors in place of those of the same ids and take `removed` away; twice is once.

        Every search that begins after it sees it.
        """

    @abstractmethod
    def settle(self) -> None:
        """After much was written: do what makes searching it fast."""

    @abstractmethod
    def search(self, vector: Vectors, count: int, allowed: Ids | None) -> Ids:
        """Ids of the `count` vectors nearest to one query, float32 (d,), best first.

        Of those allowed, ascending, min(count, matching) come back.
        """

    @abstractmethod
    def scan(self) -> Iterator[tuple[Ids, Vectors]]:
        """Everything that is there, ascending by id, in batches."""

    @abstractmethod
    def drop(self) -> None:
        """Delete all of it."""

    @classmethod
    @abstractmethod
    def check(cls, address: str) -> list[CheckMessage]:
        """System-check messages about the setting; nothing is connected to."""
