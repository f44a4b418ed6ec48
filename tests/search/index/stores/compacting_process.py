"""A process that takes over the snapshot of a directory, adds vectors, and compacts.

    python -m tests.search.index.stores.compacting_process DIRECTORY FIRST_ID COUNT POSITION [STAGE]

With a STAGE it kills itself there, as `kill -9` does.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

import numpy as np

from search.index.stores.faiss import plan
from search.index.stores.faiss.ann import AnnIndex
from search.index.stores.faiss.snapshot import SnapshotDirectory
from search.index.stores.faiss.store import FaissStore
from tests.search.index.stores.clusters import clustered

DIMENSION = 24
KEY = "space/image"


def die(*_: object, **__: object) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def die_at(stage: str) -> None:
    """Arrange the death of this process at `stage` of the next compaction."""
    if stage == "indexing":
        AnnIndex.write = die  # type: ignore[method-assign]
    elif stage == "sealing":
        SnapshotDirectory.seal = die  # type: ignore[method-assign]
    elif stage == "publishing":
        Path.replace = die  # type: ignore[method-assign]
    elif stage == "pruning":
        publish = SnapshotDirectory.publish

        def publish_and_die(*args: object, **kwargs: object) -> None:
            publish(*args, **kwargs)  # type: ignore[arg-type]
            die()

        SnapshotDirectory.publish = publish_and_die  # type: ignore[method-assign]


def main(directory: str, first_id: str, count: str, position: str, stage: str = "") -> None:
    plan.EXACT_ROWS = 500  # type: ignore[misc]
    store = FaissStore(DIMENSION, Path(directory), key=KEY)
    store.refresh()
    first, many = int(first_id), int(count)
    store.upsert(np.arange(first, first + many), clustered(many, DIMENSION, seed=first))
    store.commit(int(position))
    die_at(stage)
    if not store.compact():
        sys.exit("another process compacts")


if __name__ == "__main__":
    main(*sys.argv[1:])
