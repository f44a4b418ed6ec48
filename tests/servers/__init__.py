"""Real servers for tests: each in its own folder, on a free port, never as root."""

from __future__ import annotations

from tests.servers.milvus import Milvus
from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgresql import PostgreSQL
from tests.servers.redis import Redis
from tests.servers.s3 import S3

__all__ = ["S3", "Milvus", "PgBouncer", "PostgreSQL", "Redis"]
