"""Milvus standalone, from the package `milvus`; it is ready in some twenty seconds."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from pathlib import Path

from tests.servers.server import Server, free_port


class Milvus(Server):
    """An empty server without users; a new start keeps what was written."""

    name = "milvus"

    def __init__(self) -> None:
        super().__init__()
        self.user = None  # it takes root, whose the unpacked program is
        self.home = self.folder / "server"

    @property
    def url(self) -> str:
        return f"milvus://127.0.0.1:{self.port}"

    @property
    def command(self) -> Sequence[str | Path]:
        # The package's own launcher would take another port where the old one is not free at once.
        environment = {
            "DEPLOY_MODE": "STANDALONE",
            "ETCD_CONFIG_PATH": self.folder / "etcd.yaml",
            "LD_LIBRARY_PATH": self.home / "bin",
            "METRICS_PORT": self.metrics_port,
            "MILVUS_RUN_DIR": self.home / "run",
        }
        settings = [f"{name}={value}" for name, value in environment.items()]
        program = self.home / "bin" / "milvus"
        return ["env", f"--chdir={self.home}", *settings, program, "run", "standalone"]

    def prepare(self) -> None:
        """Unpack it and write its configuration; all ports are its own, those of its etcd too."""
        from milvus import MilvusServerConfig, _initialize_data_files

        config = MilvusServerConfig(data_dir=str(self.home), proxy_port=self.port)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # sockets it tries and leaves open
            config.resolve()
        _initialize_data_files(str(self.home))
        self.metrics_port = free_port()
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
