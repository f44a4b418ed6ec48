"""`kill -9` of each part of two hosts under load: what users see, and how it ends."""

from __future__ import annotations

import dataclasses
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from benchmarks.processes import kill
from benchmarks.servers import Ours
from tests.hosts.clients import Crowd, Loader, Searcher
from tests.hosts.pair import Pair, kill_host
from tests.hosts.working import missing

DOWN: Final = 5.0
"""Seconds that a part is away."""
SEARCHERS: Final = 4
PAUSE: Final = 4.0
"""Seconds between batches of a loader: what waits stays what two hosts embed in as many."""
PATIENCE: Final = 120.0
"""Seconds within which all must be well again."""


@dataclasses.dataclass(frozen=True)
class Death:
    """What came of one."""

    part: str
    statuses: dict[int, int]
    """Of searches on hosts that lived; 0 where a connection was cut."""
    reasons: list[str]
    answered_s: float
    """Seconds from the part's return to a search answered by each host,"""
    embedded_s: float
    """and to an item, sent then, embedded."""
    wrong: list[str]

    @property
    def allowed(self) -> bool:
        """Whether searches were answered, or refused with 503 and a reason."""
        return not (self.statuses.keys() - {200, 503}) and all("{" in each for each in self.reasons)


@dataclasses.dataclass(frozen=True)
class _Part:
    name: str
    end: Callable[[], None]
    begin: Callable[[], object]
    alive: list[Ours]
    """Hosts that answer meanwhile."""


def deaths(pair: Pair) -> Iterator[Death]:
    """Kill each part in turn under load."""
    first, second = pair.hosts
    both = pair.hosts
    for number, part in enumerate(
        [
            _Part("host A", lambda: kill_host(first), first.start, [second]),
            _Part("worker of host B", lambda: kill(second.roles()["worker"]), _by_itself, both),
            _Part("web server of host B", lambda: kill(second.roles()["web"]), _by_itself, [first]),
            _Part("Redis", pair.redis.kill, pair.redis.start, both),
            _Part("PostgreSQL", pair.postgresql.kill, pair.postgresql.start, both),
        ]
    ):
        yield _death(pair, part, number)


def _death(pair: Pair, part: _Part, number: int) -> Death:
    searchers = [Searcher(lambda: part.alive, seed=10 * number + n) for n in range(SEARCHERS)]
    loaders = [
        Loader(host, f"{number}{name}", None, seed=50 + 2 * number + n, pause=PAUSE)
        for n, (host, name) in enumerate(zip(pair.hosts, "ab", strict=True))
    ]
    with Crowd(*searchers, *loaders):
        _wait(lambda: all(loader.accepted for loader in loaders), "items from both sides")
        part.end()
        time.sleep(DOWN)
        part.begin()
        back = time.perf_counter()
        for host in pair.hosts:
            _wait(lambda h=host: _answers(h), f"an answer after the death of {part.name}")  # type: ignore[misc]
        answered = time.perf_counter() - back
        probe = f"probe-{number}"
        _wait(lambda: _takes(pair.hosts[0], probe), f"an item taken after the death of {part.name}")
        embedded = "SELECT count(*) FROM embeddings_embedding e JOIN catalog_item i"
        embedded += f" ON i.id = e.item_id WHERE i.item_id = '{probe}'"
        _wait(lambda: pair.hosts[0].rows(embedded) == [(1,)], f"{probe} embedded")
        embedded_s = time.perf_counter() - back
    pending = "SELECT count(*) FROM embeddings_embeddingjob"
    _wait(lambda: pair.hosts[0].rows(pending) == [(0,)], "an empty queue")
    statuses: Counter[int] = sum((s.statuses for s in searchers), start=Counter())
    return Death(
        part=part.name,
        statuses=dict(statuses),
        reasons=sorted({reason for searcher in searchers for reason in searcher.reasons}),
        answered_s=answered,
        embedded_s=embedded_s,
        wrong=missing(pair, loaders),
    )


def _by_itself() -> None:
    """Its supervisor starts it again."""


def _answers(host: Ours) -> bool:
    try:
        body = json.dumps({"query_text": "a dog", "top_n": 3}).encode()
        return host.ask("POST", "/search_text/", body)[0] == 200
    except OSError:
        return False


def _takes(host: Ours, item_id: str) -> bool:
    body = json.dumps({"item_id": item_id, "caption": f"a {item_id} of its own"}).encode()
    try:
        return host.ask("POST", "/api/v1/items/", body)[0] in {200, 201, 409}
    except OSError:
        return False


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.perf_counter() + PATIENCE
    while not condition():
        assert time.perf_counter() < deadline, f"waited {PATIENCE:.0f} s in vain for {what}"
        time.sleep(0.1)
