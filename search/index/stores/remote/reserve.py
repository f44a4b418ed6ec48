"""Of which ids the sample of a remote store is made, kept from change to change."""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np

from search.index.stores.base import SAMPLE, Ids, sample_order

SIZE: Final = 2 * SAMPLE
"""Two samples, for some ids will go."""


@dataclasses.dataclass(frozen=True, eq=False)
class Reserve:
    """The ids that `sample_order` puts first."""

    ids: Ids
    """In that order, at most SIZE."""
    is_all: bool
    """There are no others."""

    @classmethod
    def empty(cls) -> Reserve:
        return cls(np.empty(0, np.int64), is_all=True)

    @property
    def is_enough(self) -> bool:
        """Whether a sample can be taken from it."""
        return self.is_all or self.ids.size >= SAMPLE

    def after(self, ids: Ids, removed: Ids) -> Reserve:
        """The reserve once `ids` are there, too, and those removed are not."""
        kept = self.ids[~np.isin(self.ids, np.concatenate((ids, removed)))]
        new = ids
        if not self.is_all:  # beyond the last, others may come before them
            last = sample_order(self.ids[-1:])
            new = ids[sample_order(ids) <= last] if last.size else ids[:0]
        every = np.concatenate((kept, new))
        order = np.argsort(sample_order(every), kind="stable")
        return Reserve(every[order[:SIZE]], self.is_all and every.size <= SIZE)
