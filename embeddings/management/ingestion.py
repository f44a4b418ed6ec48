"""What `ingest_dataset` does: rows into items with a report, pruning, and watching a folder."""

from __future__ import annotations

import dataclasses
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, TextIO

from django.db import DatabaseError

from catalog.ingest import ItemRecord, Outcome, OutcomeKind, ingest
from catalog.ingest.folders import ImageFolder
from catalog.ingest.pruning import PruneRefused, dataset_name, prune, vanished
from catalog.ingest.watching import FolderWatch
from catalog.models import Dataset
from embeddings.management.interruption import until
from embeddings.management.progress import Progress

SHOWN: Final = 10
"""Rejected rows and vanished items that are printed; rejected ones are all in --errors."""
LOOK_SECONDS: Final = 1.0
"""Between two looks at a watched folder; a large one is looked at a fifth of the time at most."""


@dataclasses.dataclass(kw_only=True)
class Ingestion:
    """One call of the command on one source."""

    path: Path
    errors: TextIO | None
    stop: threading.Event
    batch_size: int
    dry_run: bool
    prune: bool
    force: bool
    say: Callable[[str], object]
    done: int = 0
    """Rows of the present run."""
    present: set[str] = dataclasses.field(default_factory=set)
    """Ids that the source names; kept only where it is pruned."""

    def run(
        self,
        records: Iterable[ItemRecord | Outcome],
        *,
        estimated: int,
        notices: Sequence[str] = (),
    ) -> Counter[OutcomeKind]:
        """Ingest, report, and count outcomes by kind. Raises OSError and DatabaseError."""
        counts: Counter[OutcomeKind] = Counter()
        self.done = notes = 0
        started = time.monotonic()
        with Progress(sys.stderr, total=estimated, what="rows") as progress:
            owned = until(self.stop, self._owned(records))
            for outcome in ingest(owned, batch_size=self.batch_size, dry_run=self.dry_run):
                self.done += 1
                counts[outcome.kind] += 1
                progress.advance()
                if self.prune:
                    self.present.add(outcome.item_id)
                if outcome.kind is OutcomeKind.REJECTED:
                    self._report(outcome, counts[OutcomeKind.REJECTED], progress)
                if outcome.note:
                    notes += 1
                    _note(outcome, notes, progress)
        for notice in notices:
            self.say(notice)
        self.say(_summary(counts, time.monotonic() - started, dry_run=self.dry_run))
        return counts

    def prune_vanished(self, present: Collection[str], *, rejected: int = 0) -> None:
        """Delete the source's items that are not `present`. Raises PruneRefused."""
        if rejected and not self.force:
            raise PruneRefused(
                f"{rejected:,} rows were rejected, and an item may be among them: nothing was"
                " pruned. Mend the rows, or prune with --force."
            )
        gone = vanished(self.path, present, force=self.force)
        for item_id in list(gone.values())[:SHOWN]:
            self.say(f"Vanished: {item_id}")
        if self.dry_run:
            self.say(f"{len(gone):,} items have vanished and would be deleted.")
            return
        deleted = 0
        for count in prune(self.path, gone):
            deleted += count
            if self.stop.is_set():
                break
        self.say(f"{deleted:,} items that have vanished were deleted.")

    def _owned(self, records: Iterable[ItemRecord | Outcome]) -> Iterator[ItemRecord | Outcome]:
        """The records as the data set's own."""
        if self.dry_run:
            yield from records
            return
        dataset, _ = Dataset.objects.get_or_create(path=dataset_name(self.path))
        for record in records:
            if isinstance(record, ItemRecord):
                yield dataclasses.replace(record, dataset=dataset.pk)
            else:
                yield record

    def _report(self, outcome: Outcome, number: int, progress: Progress) -> None:
        if self.errors is not None:
            row = {
                "line": outcome.line,
                "id": outcome.item_id or None,
                "field": outcome.field or None,
                "reason": outcome.reason,
            }
            self.errors.write(json.dumps(row, ensure_ascii=False) + "\n")
            self.errors.flush()
        if number <= SHOWN:
            progress.note(f"{_headed('Rejected', outcome)}: {outcome.reason}")
        elif number == SHOWN + 1 and self.errors is None:
            progress.note("More rows are rejected: --errors FILE lists them all.")


def _note(outcome: Outcome, number: int, progress: Progress) -> None:
    if number <= SHOWN:
        progress.note(f"{_headed('Noted', outcome)}: {outcome.note}")
    elif number == SHOWN + 1:
        progress.note("More pictures have a name that claims another format.")


def _headed(what: str, outcome: Outcome) -> str:
    """What became of a record, and where in its source it stands: a folder has items, no lines."""
    where = f"line {outcome.line}" if outcome.line else outcome.item_id
    return f"{what}, {where}" if where else what


def watch(ingestion: Ingestion, folder: ImageFolder) -> None:
    """Follow the folder until the ingestion is stopped; what fails is tried again."""
    ingestion.say(f"Watching {folder.root}; Ctrl-C stops.")
    watched = FolderWatch(folder)
    trouble = ""
    while not ingestion.stop.is_set():
        try:
            said = _follow(ingestion, watched)
        except (OSError, DatabaseError) as exc:
            said = f"{exc}. Trying again."
        if said != trouble:
            ingestion.say(said or "Watching again.")
        trouble = said
        ingestion.stop.wait(max(LOOK_SECONDS, 4 * watched.seconds))
    ingestion.say("Stopped watching.")


def _follow(ingestion: Ingestion, watched: FolderWatch) -> str:
    """Look once and do what follows; returns what stands in the way, if anything does."""
    look = watched.look()
    if look.settled:
        ingestion.run(watched.read(look), estimated=len(look.settled))
        if ingestion.stop.is_set():
            return ""
        watched.stored(look)
    if look.unreadable:
        return f"{look.unreadable[0]}. Nothing is pruned meanwhile."
    if ingestion.prune and look.gone:
        try:
            ingestion.prune_vanished(look.present)
        except PruneRefused as exc:
            return str(exc)
        watched.pruned()
    return ""


def _summary(counts: Counter[OutcomeKind], seconds: float, *, dry_run: bool) -> str:
    total = counts.total()
    parts = ", ".join(f"{counts[kind]:,} {kind.value}" for kind in OutcomeKind)
    rate = f" ({total / seconds:,.0f} a second)" if total and seconds else ""
    text = f"{total:,} rows in {seconds:.1f} s{rate}: {parts}."
    if dry_run:
        return f"{text} This was a dry run: nothing was written."
    if total and counts[OutcomeKind.UNCHANGED] == total:
        return f"{text} Nothing has changed."
    return text
