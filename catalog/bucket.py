"""Pictures in an S3 bucket, by django-storages; imported only where MMSEARCH_MEDIA_URL names one.

Its peer may be slow, dead or wrong: every call ends within bounds, as FileNotFoundError or as
PicturesUnavailable, whose message names the mend.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, BinaryIO, Final, cast

import boto3
import urllib3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    PartialCredentialsError,
)
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004  Django's name
from django.core.files.base import File
from storages.backends.s3 import S3Storage

from catalog.storage import PicturesUnavailable, StoredFile

CONNECT_SECONDS: Final = 3
SILENT_SECONDS: Final = 10
"""A peer that says nothing for so long is given up."""
ATTEMPTS: Final = 2
WHOLE_SECONDS: Final = 60.0
"""Until a picture is here, however much its peer has to say."""
REST_SECONDS: Final = 5.0
"""Once the bucket was not reached, nobody waits for it in vain again for so long."""
AT_ONCE: Final = 24
"""Calls at a time: a web process has twice as many threads, and needs the rest for searching."""
TURN_SECONDS: Final = 5.0
"""To wait for one of them to end."""
IN_MEMORY: Final = 2**20
"""Bytes of a fetched picture; a larger one waits in a file."""
DELETED_AT_ONCE: Final = 1000
"""The most that S3 takes."""
_CHUNK: Final = 2**16
_MISSING: Final = frozenset({"404", "NoSuchKey"})
_REFUSED: Final = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "403"})


class _Misconfigured(PicturesUnavailable):
    """What an operator has to mend: it does not pass by itself."""


class Bucket(S3Storage):  # type: ignore[misc]  # untyped
    """A place of pictures. Credentials are those that boto3 finds: AWS_ACCESS_KEY_ID and so on."""

    def __init__(
        self, *, bucket_name: str, location: str, endpoint_url: str | None, region_name: str | None
    ) -> None:
        super().__init__(
            bucket_name=bucket_name,
            location=location,
            endpoint_url=endpoint_url,
            region_name=region_name,
            file_overwrite=True,  # names come from us, each once: none has to be looked up
            client_config=Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=SILENT_SECONDS,
                retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
                max_pool_connections=AT_ONCE,
                # What AWS alone knows stays off: others refuse it.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"addressing_style": "path" if endpoint_url else "auto"},
            ),
            # One request a picture: a kill leaves no half of an upload behind.
            transfer_config=TransferConfig(use_threads=False, multipart_threshold=5 * 2**30),
        )
        self._making = threading.Lock()
        self._resource: Any = None
        self._owner = 0
        self._turns = threading.BoundedSemaphore(AT_ONCE)
        self._rest: tuple[float, str] = (0.0, "")
        """Until when nobody asks, by the steady clock, and why."""

    @property
    def connection(self) -> Any:
        """One client for all threads of a process: one a thread takes 0.1 s and 15 MB to make."""
        with self._making:
            if self._owner != os.getpid():  # forked processes must not share connections
                self._owner = os.getpid()
                self._resource = boto3.Session().resource(
                    "s3",
                    region_name=self.region_name,
                    endpoint_url=self.endpoint_url,
                    config=self.client_config,
                )
            return self._resource

    @property
    def bucket(self) -> Any:
        return self.connection.Bucket(self.bucket_name)

    def _open(self, name: str, mode: str = "rb") -> StoredFile:
        """A copy of the whole picture: one request, where django-storages makes three."""
        if mode != "rb":
            raise ValueError(f"A picture in a bucket is opened with 'rb', not {mode!r}.")
        with self._asking(name):
            found = self.connection.meta.client.get_object(
                Bucket=self.bucket_name, Key=self._normalize_name(name)
            )
            copy = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115  handed out
            try:
                with found["Body"] as body:
                    size = _copy(body, copy, whole=found["ContentLength"])
            except BaseException:
                copy.close()
                raise
        copy.seek(0)
        modified = found["LastModified"].timestamp()
        return StoredFile(cast("BinaryIO", copy), name, size=size, modified=modified)

    def _save(self, name: str, content: File[bytes]) -> str:
        with self._asking(name):
            return str(super()._save(name, content))

    def exists(self, name: str) -> bool:
        with self._asking(name):
            return bool(super().exists(name))

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        with self._asking(path):
            folders, files = super().listdir(path)
        return folders, files

    def get_modified_time(self, name: str) -> datetime:
        with self._asking(name):
            return cast("datetime", super().get_modified_time(name))

    def delete(self, name: str) -> None:
        self.delete_all([name])

    def delete_all(self, names: Sequence[str]) -> None:
        keys = [{"Key": self._normalize_name(name)} for name in names]
        for start in range(0, len(keys), DELETED_AT_ONCE):
            some = keys[start : start + DELETED_AT_ONCE]
            with self._asking(some[0]["Key"]):
                answer = self.connection.meta.client.delete_objects(
                    Bucket=self.bucket_name, Delete={"Objects": some, "Quiet": True}
                )
            for error in answer.get("Errors", ()):
                raise PicturesUnavailable(
                    f"{self._called} did not delete {error['Key']!r}: {error['Code']}."
                )

    def check(self) -> list[CheckMessage]:
        """Ask the bucket once: catalog.E002 where it can never work, W003 where it may later."""
        try:
            with self._asking(""):
                self.connection.meta.client.list_objects_v2(
                    Bucket=self.bucket_name, Prefix=self.location, MaxKeys=1
                )
        except _Misconfigured as exc:
            return [Error(str(exc), id="catalog.E002")]
        except PicturesUnavailable as exc:
            return [Warning(str(exc), hint="Searches are answered meanwhile.", id="catalog.W003")]
        return []

    @property
    def _called(self) -> str:
        return f"The pictures' bucket {self.bucket_name!r}"

    @contextlib.contextmanager
    def _asking(self, name: str) -> Iterator[None]:
        """Take a turn, and say in our words what goes wrong in it."""
        until, why = self._rest
        if time.monotonic() < until:
            raise PicturesUnavailable(why)
        if not self._turns.acquire(timeout=TURN_SECONDS):
            raise PicturesUnavailable(f"{self._called} is slow, and many wait for it.")
        try:
            yield
        except ClientError as exc:
            raise self._in_our_words(name, exc) from exc
        except (NoCredentialsError, PartialCredentialsError) as exc:
            raise _Misconfigured(
                f"{self._called} needs credentials, and there are none: set AWS_ACCESS_KEY_ID and"
                " AWS_SECRET_ACCESS_KEY."
            ) from exc
        except (BotoCoreError, Boto3Error, urllib3.exceptions.HTTPError) as exc:
            why = f"{self._called} cannot be reached: {exc}"
            self._rest = (time.monotonic() + REST_SECONDS, why)
            raise PicturesUnavailable(why) from exc
        finally:
            self._turns.release()

    def _in_our_words(self, name: str, exc: ClientError) -> OSError:
        code = str(exc.response.get("Error", {}).get("Code", ""))
        if code in _MISSING:
            return FileNotFoundError(2, f"There is no such object in {self.bucket_name!r}", name)
        if code == "NoSuchBucket":
            return _Misconfigured(
                f"{self._called} does not exist: make it, or correct MMSEARCH_MEDIA_URL."
            )
        if code in _REFUSED:
            return _Misconfigured(
                f"{self._called} refuses us ({code}): AWS_ACCESS_KEY_ID has to be right, and may"
                " list the bucket and get, put and delete its objects."
            )
        if code in {"PermanentRedirect", "301", "AuthorizationHeaderMalformed"}:
            return _Misconfigured(
                f"{self._called} is in another region: add ?region=… to MMSEARCH_MEDIA_URL."
            )
        return PicturesUnavailable(f"{self._called} answers with an error: {exc}")


def _copy(body: Any, copy: tempfile.SpooledTemporaryFile[bytes], *, whole: int) -> int:
    """Copy what a peer sends, who may send a byte a second, or break off; returns the size."""
    until = time.monotonic() + WHOLE_SECONDS
    size = 0
    while chunk := body.read1(_CHUNK):
        size += copy.write(chunk)
        if time.monotonic() > until:
            raise PicturesUnavailable("The pictures' bucket sends too slowly.")
    if size != whole:
        raise PicturesUnavailable("The pictures' bucket broke off while it sent a picture.")
    return size
