"""pgbouncer, from Debian: a pool that gives each transaction the next connection."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from tests.servers.server import Server

CONFIGURATION = """\
[databases]
* = host={host} port={to}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
min_pool_size = 2
default_pool_size = 8
server_round_robin = 1
server_reset_query = DISCARD ALL
server_reset_query_always = 1
max_client_conn = 200
"""


class PgBouncer(Server):
    """In front of a PostgreSQL; whatever a session keeps is lost with each transaction."""

    name = "pgbouncer"

    def __init__(self, postgresql: str) -> None:
        super().__init__()
        self._postgresql = urlsplit(postgresql)

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def command(self) -> Sequence[str | Path]:
        return ["pgbouncer", self.folder / "pgbouncer.ini"]

    def prepare(self) -> None:
        told = CONFIGURATION.format(
            host=self._postgresql.hostname,
            to=self._postgresql.port,
            port=self.port,
            folder=self.folder,
        )
        (self.folder / "pgbouncer.ini").write_text(told)
        (self.folder / "users").write_text('"postgres" ""\n')

    def answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True
