"""What operators see of the system."""

from __future__ import annotations

import dataclasses

import psutil
from django.conf import settings

from embeddings import states
from embeddings.models import EmbeddingSpace
from embeddings.overview import SpaceProgress, progress
from embeddings.parts import PARTS
from embeddings.spaces import active_space
from search.index.space_index import active_index
from search.index.stores.base import StoreStats
from search.index.stores.replica import Tuning

_process = psutil.Process()
_process.cpu_percent()  # the first call only sets the mark that the next one measures from
MB = 2**20


@dataclasses.dataclass(frozen=True)
class IndexStats:
    """One modality's store, as this process serves it."""

    modality: str
    name: str
    """What people call its vectors: pictures, captions."""
    store: StoreStats
    tuning: Tuning | None
    """Measured recall; None until the first measurement in this process."""


@dataclasses.dataclass(frozen=True)
class SystemStats:
    """Items, vectors and resources, now."""

    states: states.StateCounts
    space: EmbeddingSpace | None
    vectors: int
    indexes: tuple[IndexStats, ...]
    """Of the space that answers."""
    spaces: tuple[SpaceProgress, ...]
    """That one, and those kept beside it."""
    memory_rss_mb: float
    memory_vms_mb: float
    cpu_percent: float
    """Of one core, since the last call."""
    index_path: str
    database: str


def system_stats() -> SystemStats:
    """Gather what `/stats/`, `/metrics` and the admin show.

    Raises SpaceError or EncoderError where the index cannot be opened.
    """
    space = active_space()
    indexes: list[IndexStats] = []
    if space is not None:
        index = active_index()
        index.sync()
        indexes = [
            IndexStats(
                modality.value, PARTS[modality].plural, store.stats(), index.tunings.get(modality)
            )
            for modality, store in index.stores.items()
        ]
    memory = _process.memory_info()
    return SystemStats(
        states=states.counts(),
        space=space,
        vectors=sum(each.store.count for each in indexes),
        indexes=tuple(indexes),
        spaces=tuple(progress()),
        memory_rss_mb=round(memory.rss / MB, 2),
        memory_vms_mb=round(memory.vms / MB, 2),
        cpu_percent=_process.cpu_percent(),
        index_path=str(settings.MMSEARCH_INDEX_DIR),
        database=str(settings.DATABASES["default"]["NAME"]),
    )
