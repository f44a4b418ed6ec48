"""S3, from the package `nanio`: objects are files, and a new start keeps them."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.servers.server import Server

BUCKET: Final = "pictures"
KEY: Final = "test"
"""Whose requests are taken, signed with the secret of the same name."""


class S3(Server):
    """A server with one bucket, empty at first."""

    name = "s3"

    def __init__(self) -> None:
        super().__init__()
        self.user = None  # our own Python, which nobody else may be able to run

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What the application needs to keep its pictures there."""
        return {
            "MMSEARCH_MEDIA_URL": f"s3://{BUCKET}/shop/eu?endpoint={self.url}&region=us-east-1",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": KEY,
        }

    @property
    def command(self) -> Sequence[str | Path]:
        own = [f"NANIO_ACCESS_KEY={KEY}", f"NANIO_SECRET_KEY={KEY}"]
        listens = ["--host", "127.0.0.1", "--port", str(self.port), "--no-access-log"]
        serve = [sys.executable, "-m", "nanio", "serve", "--data-dir", str(self._buckets)]
        return ["env", *own, *serve, *listens]

    @property
    def _buckets(self) -> Path:
        return self.folder / "buckets"

    def prepare(self) -> None:
        (self._buckets / BUCKET).mkdir(parents=True)  # which makes the bucket

    def answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 5).close()
        except OSError:
            return False
        return True

    def client(self) -> Any:
        """A client of its own, past the application."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=KEY,
            aws_secret_access_key=KEY,
        )

    def names(self) -> list[str]:
        """Every object, by its whole key."""
        answer = self.client().list_objects_v2(Bucket=BUCKET)
        return [entry["Key"] for entry in answer.get("Contents", ())]

    def empty(self) -> None:
        for key in self.names():
            self.client().delete_object(Bucket=BUCKET, Key=key)

    @contextmanager
    def silent(self) -> Iterator[None]:
        """It takes connections and answers none of them, and loses nothing."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._process.pid, signal.SIGCONT)
