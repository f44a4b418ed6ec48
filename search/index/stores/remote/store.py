"""A store on a server: it proposes, the database decides, the end of the change log is added."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np
from django.db.models import QuerySet
from numpy.typing import NDArray

from embeddings.models import Embedding, VectorChange
from search.index.stored_vectors import LOAD_BATCH, halves_of
from search.index.stores.base import (
    SAMPLE,
    Halves,
    Ids,
    IdSet,
    Matches,
    Scores,
    StoreError,
    StoreStats,
    Vectors,
    VectorStore,
)
from search.index.stores.ranking import ROUNDING, best, exact_scores, merge, places_in
from search.index.stores.remote.engine import Engine, StoreUnavailable
from search.index.stores.remote.positions import Key, note, reserve_of
from search.index.stores.remote.reserve import Reserve
from search.index.stores.remote.tail import Tail
from search.models import StorePosition

if TYPE_CHECKING:
    from django.core.checks import CheckMessage

LONGEST_TAIL: Final = 200_000
"""Lines of the log that a search adds to what the server finds, at most."""
SPARE: Final = 16
"""Candidates more than asked for: the server's order is not quite that of the exact scores."""
DEEPER: Final = 4
"""Times as many where those were not enough."""
FEW: Final = 4_096
"""Allowed ids whose vectors are all scored, here where the server might miss some; of more, it may
be told none and find enough."""
COUNT_SHARE: Final = 20
"""Counting takes at most one part in this many of the time."""


@dataclasses.dataclass(frozen=True, eq=False)
class _View:
    """What a search works on; swapped as a whole."""

    tail: Tail
    reserve: Reserve
    """Of the store as it was at the tail's start."""
    sample: Ids
    """Of the store and the tail."""


class RemoteStore(VectorStore):
    """One modality of a space in an engine.

    A follower tells the engine what changed (`apply`), and the database how far that is. `sync`
    reads what the log says since: those vectors are searched here, exactly, and whatever the
    engine still says of them does not count. Candidates are scored again from the database.
    """

    def __init__(self, dimension: int, engine: Engine, key: Key) -> None:
        super().__init__(dimension)
        self.engine = engine
        self.key = key
        nothing = Reserve.empty()
        self._view = _View(Tail.empty(0, dimension), nothing, nothing.ids)
        self._sampled: tuple[bytes, Vectors] = (b"", np.empty((0, dimension), np.float32))
        self._count = (-1, 0.0, 0)  # position, when to count again, vectors

    # What is written

    def apply(self, position: int, ids: Ids, vectors: Vectors, removed: Ids) -> None:
        halves = self._to_store(ids, vectors)
        self.engine.prepare()
        with self.key.held() as row:
            if row is not None:
                self.write(row, ids, halves, removed, applied_seq=position)

    def write(
        self, row: StorePosition, ids: Ids, halves: Halves, removed: Ids, **progress: int | None
    ) -> None:
        """Write into the engine, then note the progress; `row` is held."""
        self.engine.write(ids, halves.astype(np.float32), removed)
        reserve = reserve_of(row).after(ids, removed)
        note(row, reserve if reserve.is_enough else self._read_reserve(), **progress)

    def _read_reserve(self) -> Reserve:
        """Once so many were removed that too few are left to sample."""
        found, after = Reserve.empty(), 0
        keys = self.rows().order_by("item_id").values_list("item_id", flat=True)
        while chunk := list(keys.filter(item__gt=after)[:LOAD_BATCH]):
            ids = np.array(chunk, dtype=np.int64)
            found, after = found.after(ids, ids[:0]), chunk[-1]
        return found

    # What readers see

    def sync(self, end: int, log_start: int) -> None:
        """Take in what the log says up to `end`; it is pruned up to `log_start`.

        Raises StoreUnavailable where the store lacks more than it says, or than a search can add.
        """
        row = self.key.row()
        if row.filled_to is not None or row.applied_seq < log_start:
            raise StoreUnavailable(
                f"The vector store {self.key.store} is being filled; searches answer when it is"
                " complete. The worker does it."
            )
        view = self._view
        tail, reserve = view.tail, view.reserve
        if not row.applied_seq <= tail.end <= end:
            tail = Tail.empty(min(row.applied_seq, end), self.dimension)
        if row.applied_seq != view.tail.start:
            reserve = self.key.reserve()
        tail = tail.begun_at(row.applied_seq)
        if tail.end < end:
            tail = self._read_on(tail, end)
        now = reserve.after(tail.present, tail.removed)
        if not now.is_enough:
            now = self._read_reserve()
        self._view = _View(tail, reserve, now.ids[:SAMPLE])

    def _read_on(self, tail: Tail, end: int) -> Tail:
        lines = VectorChange.objects.filter(
            space=self.key.space_id, modality=self.key.modality, seq__gt=tail.end, seq__lte=end
        ).order_by("seq")
        found = list(lines.values_list("vector_item", "seq")[: LONGEST_TAIL + 1])
        if len(found) + tail.ids.size > LONGEST_TAIL:
            raise StoreUnavailable(
                f"The vector store {self.key.store} is more than {LONGEST_TAIL:,} changes behind;"
                " searches answer when it has caught up. The worker does it."
            )
        changed = dict(found)
        ids, halves = self._look_up(np.array(sorted(changed), dtype=np.int64))
        usable = np.isfinite(halves).all(axis=1)
        return tail.extended(end, changed, ids[usable], halves[usable])

    def position(self) -> int:
        return self._view.tail.end

    def search(self, vectors: Vectors, k: int, *, allowed: IdSet | None = None) -> list[Matches]:
        view, queries = self._view, self._to_search(vectors)
        return [self._search(view.tail, query, k, allowed) for query in queries]

    def _search(
        self, tail: Tail, query: NDArray[np.float32], k: int, allowed: IdSet | None
    ) -> Matches:
        count = k + SPARE + min(k, tail.ids.size)
        while True:
            near = self._near(tail, query, min(count, self.engine.most), allowed)
            ids, halves = self._look_up(np.sort(near[~tail.holds(near)]))
            scores = exact_scores(halves, query)
            found = best(ids, scores, k)
            is_all = near.size != count or count >= self.engine.most
            if is_all or (ids.size > k and scores.min() < found.scores[-1] - ROUNDING):
                return merge(found, tail.search(query, k, allowed), k)
            count *= DEEPER

    def _near(
        self, tail: Tail, query: NDArray[np.float32], count: int, allowed: IdSet | None
    ) -> Ids:
        if not tail.start or (allowed is not None and not allowed.ids.size):
            return np.empty(0, np.int64)  # nothing was ever written, or nothing is looked for
        if allowed is None:
            return self.engine.search(query, count, None)
        if self.engine.exact_ids < allowed.ids.size <= FEW:
            return allowed.ids
        # Of many allowed ids enough are among the nearest of all; their list would cost more.
        enough = math.ceil(1.5 * count * max(len(self), 1) / allowed.ids.size)
        if allowed.ids.size > FEW and DEEPER * enough < self.engine.most:
            near = self.engine.search(query, enough, None)
            near = near[places_in(allowed.ids, near) >= 0]
            if near.size >= count:
                return near[:count]
        return self.engine.search(query, count, allowed.ids)

    def fetch(self, ids: Ids) -> Vectors:
        found, halves = self._look_up(np.unique(ids))
        places = places_in(found, ids)
        if (places < 0).any():
            missing = ids[places < 0][0]
            raise StoreError(f"No vector for id {missing}: ask only for ids of the store.")
        return halves[places].astype(np.float32)

    def scores(self, vector: NDArray[np.float32], ids: Ids) -> Scores:
        found, halves = self._look_up(np.unique(ids))
        places = places_in(found, ids)
        scores = exact_scores(halves, self._to_search(vector[np.newaxis])[0])
        if not found.size:
            return np.full(ids.size, np.nan, np.float32)
        return np.where(places < 0, np.float32(np.nan), scores[places])

    def sample(self) -> Vectors:
        view = self._view
        ids = view.sample
        places = places_in(view.tail.ids, ids)
        version = ids.tobytes() + view.tail.seqs[places[places >= 0]].tobytes()
        if self._sampled[0] != version:
            found, halves = self._look_up(np.sort(ids))
            places = places_in(found, ids)
            vectors = halves[places[places >= 0]].astype(np.float32)
            self._sampled = (version, vectors)
        return self._sampled[1]

    def __len__(self) -> int:
        position, due, count = self._count
        started = time.monotonic()
        if position != self.position() and started >= due:
            count = self.rows().count()
            cost = time.monotonic() - started
            self._count = (self.position(), started + COUNT_SHARE * cost, count)
        return count

    def stats(self) -> StoreStats:
        return StoreStats(
            kind="hnsw",
            count=len(self),
            delta=self._view.tail.ids.size,
            bytes_per_vector=0.0,
        )

    def check(self) -> list[CheckMessage]:
        return type(self.engine).check(self.engine.address)

    def scan(self) -> Iterator[tuple[Ids, Vectors]]:
        tail = self._view.tail
        new = tail.present
        for ids, vectors in self.engine.scan() if tail.start else ():
            last = int(ids[-1])
            kept = ~tail.holds(ids)
            upto = int(np.searchsorted(new, last, side="right"))
            yield self._joined(ids[kept], vectors[kept], new[:upto])
            new = new[upto:]
        yield self._joined(new[:0], np.empty((0, self.dimension), np.float32), new)

    def _joined(self, ids: Ids, vectors: Vectors, new: Ids) -> tuple[Ids, Vectors]:
        found, halves = self._look_up(new)
        every = np.concatenate((ids, found))
        order = np.argsort(every)
        return every[order], np.concatenate((vectors, halves.astype(np.float32)))[order]

    # The database

    def rows(self) -> QuerySet[Embedding]:
        """Its vectors in the database."""
        return Embedding.objects.filter(space=self.key.space_id, modality=self.key.modality)

    def _look_up(self, ids: Ids) -> tuple[Ids, Halves]:
        """Those of `ids`, ascending, that have a vector, and their vectors as they are now."""
        return halves_of(self.rows(), ids, self.dimension)
