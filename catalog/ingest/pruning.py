"""Which items a data set once named and no longer does."""

from __future__ import annotations

from collections.abc import Container, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from catalog.deletion import BATCH, delete_items
from catalog.ingest.records import IngestError
from catalog.models import Dataset

FEW: Final = 100
"""Items that may vanish together, however large their share."""


class PruneRefused(IngestError):  # noqa: N818  a fact about the source
    """So much has vanished that the source itself may be gone; the message says what to look at."""


def dataset_name(path: Path) -> str:
    """The name under which items remember a source."""
    return str(path.resolve()).encode(errors="replace").decode()


def vanished(path: Path, present: Container[str], *, force: bool = False) -> dict[int, str]:
    """Ids, by primary key, of the source's items that are not `present`.

    Raises PruneRefused, unless forced, where all have vanished, or more than half and not few.
    """
    dataset = Dataset.objects.filter(path=dataset_name(path)).first()
    if dataset is None:
        return {}
    total = 0
    gone: dict[int, str] = {}
    for pk, item_id in dataset.items.order_by("pk").values_list("pk", "item_id").iterator():
        total += 1
        if item_id not in present:
            gone[pk] = item_id
    if gone and not force and (len(gone) == total or len(gone) > max(FEW, total // 2)):
        raise PruneRefused(
            f"{len(gone):,} of the {total:,} items of {path} have vanished from it. Is it whole,"
            " and mounted? Nothing was pruned; with --force they go."
        )
    return gone


def prune(path: Path, gone: dict[int, str]) -> Iterator[int]:
    """Delete vanished items that still belong to the source; yields how many each batch deleted."""
    keys = iter(gone)
    while chunk := list(islice(keys, BATCH)):
        for dataset in Dataset.objects.filter(path=dataset_name(path)):
            yield from delete_items(dataset.items.filter(pk__in=chunk))
