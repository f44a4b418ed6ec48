"""Two hosts on shared servers, each with a data folder and a port of its own."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Final, Self

import psutil

from benchmarks.processes import kill
from benchmarks.servers import Ours
from tests.servers import S3, Milvus, PostgreSQL, Redis

EMBEDDED: Final = re.compile(r"Embedding end: (\d+) items indexed")
KEY: Final = "the same on both hosts"


class Pair:
    """A context manager: the end of the block ends everything."""

    def __init__(self, folder: Path, *, store: str = "faiss") -> None:
        """`store`: faiss, pgvector or milvus."""
        self._stack = contextlib.ExitStack()
        self.postgresql, self.redis, self.s3 = PostgreSQL(), Redis(), S3()
        self.milvus = Milvus() if store == "milvus" else None
        self._folder = folder
        self._shared = {
            "MMSEARCH_DATABASE_URL": self.postgresql.url,
            "MMSEARCH_BROKER_URL": self.redis.url,
            "MMSEARCH_SECRET_KEY": KEY,
            "MMSEARCH_VECTOR_STORE": self.milvus.url if self.milvus else store,
            **self.s3.environment,
        }
        self.hosts = [self.host(name) for name in ("a", "b")]

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            for server in (self.postgresql, self.redis, self.s3, self.milvus):
                if server is not None:
                    stack.enter_context(server)
            for host in self.hosts:
                stack.enter_context(host)
                host.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def host(self, name: str) -> Ours:
        """A host of this installation, not started, with an empty data folder."""
        return Ours(self._folder / name, **self._shared)

    def embedded_by(self, host: Ours) -> int:
        """Items that a host has embedded so far, by its log."""
        return sum(map(int, EMBEDDED.findall(host.log.read_text(encoding="utf-8"))))

    def count(self, what: str, table: str) -> int:
        """What the database holds, read past the application."""
        return int(self.hosts[0].rows(f"SELECT count({what}) FROM {table}")[0][0])


def kill_host(host: Ours) -> None:
    """`kill -9` a host whole."""
    processes = host.processes()
    kill(processes)
    psutil.wait_procs(processes, timeout=30)
    if host.process is not None:
        host.process.wait()
        host.process = None
