"""Tests over a bucket: a server for all, emptied for each, and the settings that name it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django.fixtures import Settings

from mmsearch_project import environment as env
from tests.servers.s3 import S3


@pytest.fixture(scope="session")
def server() -> Iterator[S3]:
    with S3() as running:
        yield running


@pytest.fixture
def s3(server: S3, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> S3:
    """Pictures lie in the server's bucket, whose peer is soon given up."""
    from catalog import bucket

    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    patience = {"CONNECT_SECONDS": 1.0, "SILENT_SECONDS": 1.5, "REST_SECONDS": 0.5}
    for name, seconds in patience.items():
        monkeypatch.setattr(bucket, name, seconds)
    server.empty()
    use_bucket(settings)
    return server


def use_bucket(settings: Settings) -> None:
    """Take the place of pictures from the environment anew."""
    options = env.bucket("MMSEARCH_MEDIA_URL")
    settings.MMSEARCH_BUCKET = options
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {"BACKEND": "catalog.bucket.Bucket", "OPTIONS": options},
    }
