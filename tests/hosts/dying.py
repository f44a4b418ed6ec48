"""`kill -9` of each part of two hosts under load: what users see, and how it ends."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from typing import Final

from benchmarks.processes import kill
from benchmarks.servers import Ours
from tests.hosts.clients import GONE, Crowd, Loader, Painter, Searcher, total
from tests.hosts.pair import Pair, kill_host
from tests.hosts.working import missing

DOWN: Final = 5.0
"""Seconds that a part is away."""
SEARCHERS: Final = 4
PAUSE: Final = 4.0
"""Seconds between batches of a loader: what waits stays what two hosts embed in as many."""
PICTURE_PAUSE: Final = 0.5
"""Seconds between pictures."""
PATIENCE: Final = 120.0
"""Seconds within which all must be well again."""


@dataclasses.dataclass(frozen=True)
class Death:
    """What came of one."""

    part: str
    searches: dict[int, int]
    """Statuses on hosts that lived; 0 where a connection was cut."""
    reasons: list[str]
    """What refusals said."""
    pictures: dict[int, int]
    """Statuses of sending and of looking at them, without the cuts by a host's own death."""
    answered_s: float
    """Seconds from the part's return to a search answered by each host,"""
    embedded_s: float
    """and to an item, sent then, embedded."""
    wrong: list[str]

    @property
    def allowed(self) -> bool:
        """Whether everything was answered, or refused with 503, searches with a reason."""
        statuses = self.searches.keys() | self.pictures.keys()
        return statuses <= {200, 503} and all("{" in each for each in self.reasons)


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
    servers = {"Redis": pair.redis, "the bucket": pair.s3, "PostgreSQL": pair.postgresql}
    if pair.milvus is not None:
        servers["Milvus"] = pair.milvus
    for number, part in enumerate(
        [
            _Part("host A", lambda: kill_host(first), first.start, [second]),
            _Part("worker of host B", lambda: kill(second.roles()["worker"]), _by_itself, both),
            _Part("web server of host B", lambda: kill(second.roles()["web"]), _by_itself, [first]),
            *(_Part(name, each.kill, each.start, both) for name, each in servers.items()),
        ]
    ):
        yield _death(pair, part, number)


def _death(pair: Pair, part: _Part, number: int) -> Death:
    searchers = [Searcher(lambda: part.alive, seed=10 * number + n) for n in range(SEARCHERS)]
    loaders = [
        Loader(host, f"{number}{name}", None, seed=50 + 2 * number + n, pause=PAUSE)
        for n, (host, name) in enumerate(zip(pair.hosts, "ab", strict=True))
    ]
    painters = [
        Painter(host, other, f"{number}{name}p", pause=PICTURE_PAUSE)
        for host, other, name in zip(pair.hosts, pair.hosts[::-1], "ab", strict=True)
    ]
    with Crowd(*searchers, *loaders, *painters):
        senders: list[Loader | Painter] = [*loaders, *painters]
        _wait(lambda: all(sender.accepted for sender in senders), "items from both sides")
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
    pictures = total(painters)
    if part.alive != pair.hosts:
        pictures.pop(GONE, None)
    return Death(
        part=part.name,
        searches=total(searchers),
        reasons=sorted({reason for searcher in searchers for reason in searcher.reasons}),
        pictures=pictures,
        answered_s=answered,
        embedded_s=embedded_s,
        wrong=missing(pair, loaders) + [each for painter in painters for each in painter.lost()],
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
