"""Milvus standalone, from the package `milvus`; it is ready in some twenty seconds."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.servers.server import Server, free_port


class Milvus(Server):
    """An empty server without users; a new start keeps what was written."""

    name = "milvus"

    def __init__(self) -> None:
        super().__init__()
        self.user = None  # it takes root, and its program is Python, which others may not reach

    @property
    def url(self) -> str:
        return f"milvus://127.0.0.1:{self.port}"

    @property
    def command(self) -> Sequence[str | Path]:
        # What finds the other ports that it needs, writes its configuration, and starts it.
        program = "from milvus import main; main()"
        options = ("--data", self.folder / "server", "--proxy-port", str(self.port))
        configured = ("env", f"ETCD_CONFIG_PATH={self.folder / 'etcd.yaml'}")
        return [*configured, sys.executable, "-c", program, *options]

    def prepare(self) -> None:
        """Its etcd would take the one port that another may have."""
        clients, peers = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        lines = (
            f"listen-client-urls: {clients}",
            f"advertise-client-urls: {clients}",
            f"listen-peer-urls: {peers}",
            f"initial-advertise-peer-urls: {peers}",
            f"initial-cluster: default={peers}",
        )
        (self.folder / "etcd.yaml").write_text("\n".join(lines))

    def answers(self) -> bool:
        from grpc import RpcError
        from pymilvus import MilvusClient, MilvusException

        try:
            client = MilvusClient(f"http://127.0.0.1:{self.port}", timeout=5)
            with contextlib.closing(client):
                client.list_collections(timeout=5)
        except (MilvusException, RpcError):
            return False
        return True
