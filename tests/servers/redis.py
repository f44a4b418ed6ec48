"""Redis, from Debian's package `redis-server`; it keeps nothing over a new start."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import redis

from tests.databases import QUEUES
from tests.servers.server import Server


class Redis(Server):
    """An empty server that holds everything in memory."""

    name = "redis"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def command(self) -> Sequence[str | Path]:
        settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "databases": str(QUEUES),
            "save": "",
            "appendonly": "no",
        }
        return ["redis-server", *(part for k, v in settings.items() for part in (f"--{k}", v))]

    def answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False
