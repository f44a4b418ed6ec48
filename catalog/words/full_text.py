"""The database's own full text index over `ItemWords`: what every database has to give."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.module_loading import import_string

Ids: TypeAlias = npt.NDArray[np.int64]

EDGE: Final = "|"
"""Between two fields where terms stand behind one another; no term is a sign like this."""
BETWEEN_FIELDS: Final = f" || ' {EDGE} ' || "
"""The same in SQL."""


@dataclasses.dataclass(frozen=True, slots=True)
class Pattern:
    """Terms in sequence within one field; with `prefix` the last may go on."""

    terms: tuple[str, ...]
    prefix: bool = False


class FullText(Protocol):
    """A full text index that the database keeps equal to the rows of `ItemWords`."""

    def create(self) -> None:
        """Make the index, over what rows there are."""

    def drop(self) -> None:
        """Take the index away."""

    def rebuild(self) -> None:
        """Derive the index from the rows anew."""

    def is_sound(self) -> bool:
        """Whether the index is what the rows make it."""

    def matching(
        self,
        groups: Sequence[Sequence[Pattern]],
        *,
        fields: Sequence[str] = (),
        limit: int | None = None,
    ) -> Ids:
        """Keys of the items that have a pattern of every group, ascending: the first `limit`.

        `fields` narrows down where the patterns may stand.
        """

    def matching_each(self, groups: Sequence[Sequence[Pattern]], *, limit: int) -> list[Ids]:
        """The same of each group by itself."""

    def texts(self, items: Ids) -> tuple[Ids, str]:
        """Those of `items` (ascending) that there are, and their fields in order, EDGE between."""

    def count(self) -> int:
        """How many items there are words of."""

    def key_range(self) -> tuple[int, int]:
        """The lowest and the highest key of these items; zeros where there are none."""


_BACKENDS: Final = {
    "sqlite": "catalog.words.sqlite.SqliteFullText",
    "postgresql": "catalog.words.postgresql.PostgresFullText",
}


def full_text(connection: BaseDatabaseWrapper) -> FullText:
    """The full text index of a database."""
    backend: type[FullText] = import_string(_BACKENDS[connection.vendor])
    return backend(connection)  # type: ignore[call-arg]  # a protocol has no constructor
