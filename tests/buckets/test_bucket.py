"""Pictures in a bucket, against a server of S3: what is there, what is not, and who is silent."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.core.checks import run_checks
from django.core.exceptions import SuspiciousOperation
from django.core.files.base import ContentFile
from pytest_django.fixtures import Settings

from catalog.storage import PicturesUnavailable, place
from tests.buckets.conftest import use_bucket
from tests.servers.s3 import BUCKET, S3

pytestmark = pytest.mark.servers


def test_bucket_keeps_files_below_its_prefix(s3: S3) -> None:
    name = place().save("images/ab/cat.jpg", ContentFile(b"cat"))
    assert s3.names() == ["shop/eu/images/ab/cat.jpg"]
    with place().open(name) as file:
        assert (file.size, file.read(), file.read()) == (3, b"cat", b"")
        assert abs(file.modified - time.time()) < 60
    assert place().exists(name)
    assert place().listdir("images") == (["ab"], [])
    assert place().listdir("images/ab") == ([], ["cat.jpg"])
    assert place().get_modified_time(name).timestamp() == file.modified
    place().delete_all([name, "images/ab/never.jpg"])
    assert s3.names() == []
    assert place().listdir("images") == ([], [])


def test_bucket_tells_what_is_not_there(s3: S3) -> None:
    assert not place().exists("images/ab/no.jpg")
    with pytest.raises(FileNotFoundError):
        place().open("images/ab/no.jpg")
    with pytest.raises(FileNotFoundError):
        place().get_modified_time("images/ab/no.jpg")
    with pytest.raises(SuspiciousOperation):
        place().open("../../secret")


def test_bucket_is_never_left_with_half_an_upload(s3: S3) -> None:
    large = os.urandom(12 * 2**20)  # django-storages would send it in parts
    name = place().save("images/ab/large.png", ContentFile(large))
    with place().open(name) as file:
        assert file.read() == large
    head = s3.client().head_object(Bucket=BUCKET, Key=f"shop/eu/{name}")
    assert "-" not in head["ETag"]  # which tells the number of parts


def test_many_threads_share_one_client(s3: S3) -> None:
    def there_and_back(number: int) -> tuple[bytes, int]:
        name = place().save(f"images/ab/{number}.jpg", ContentFile(str(number).encode()))
        with place().open(name) as file:
            return file.read(), id(place().connection)  # type: ignore[attr-defined]

    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(there_and_back, range(200)))
    assert [content for content, _ in found] == [str(number).encode() for number in range(200)]
    assert len({client for _, client in found}) == 1


def test_a_forked_process_makes_connections_of_its_own(s3: S3) -> None:
    name = place().save("images/ab/cat.jpg", ContentFile(b"cat"))
    before = id(place().connection)  # type: ignore[attr-defined]
    child = os.fork()
    if child == 0:
        with place().open(name) as file:
            good = file.read() == b"cat"
        os._exit(0 if good and id(place().connection) != before else 1)  # type: ignore[attr-defined]
    assert os.waitpid(child, 0)[1] == 0


def test_a_silent_bucket_is_given_up_then_not_asked_for_a_while_and_found_again(s3: S3) -> None:
    name = place().save("images/ab/cat.jpg", ContentFile(b"cat"))
    with s3.silent():
        with pytest.raises(PicturesUnavailable, match=r"'pictures' cannot be reached: .+"):
            place().open(name)
        for ask in (place().open, place().exists, place().listdir, place().get_modified_time):
            with pytest.raises(PicturesUnavailable, match="cannot be reached"):
                ask(name)
        with pytest.raises(PicturesUnavailable):
            place().save("images/ab/dog.jpg", ContentFile(b"dog"))
        with pytest.raises(PicturesUnavailable):
            place().delete_all([name])
    time.sleep(0.6)  # the rest, which tests shorten
    with place().open(name) as file:
        assert file.read() == b"cat"


def test_too_many_at_once_are_told_so(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catalog.bucket.TURN_SECONDS", 0.1)
    turns = place()._turns  # type: ignore[attr-defined]
    held = 0
    while turns.acquire(blocking=False):
        held += 1
    with pytest.raises(PicturesUnavailable, match="is slow, and many wait for it"):
        place().exists("images/ab/cat.jpg")
    for _ in range(held):
        turns.release()
    assert held == 24
    assert not place().exists("images/ab/cat.jpg")


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize(
    ("pause", "sent", "told"),
    [(0.1, 1000, "sends too slowly"), (0.0, 10, "cannot be reached|broke off")],
)
def test_a_picture_that_drips_or_breaks_off_is_given_up(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    pause: float,
    sent: int,
    told: str,
) -> None:
    monkeypatch.setattr("catalog.bucket.WHOLE_SECONDS", 0.5)

    class Dripping(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.send_header("Last-Modified", "Wed, 25 Nov 2026 00:00:00 GMT")
            self.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(sent):
                    self.wfile.write(b"x")
                    time.sleep(pause)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Dripping) as server:
        threading.Thread(target=server.serve_forever).start()
        url = f"s3://pictures?endpoint=http://127.0.0.1:{server.server_port}&region=us-east-1"
        monkeypatch.setenv("MMSEARCH_MEDIA_URL", url)
        use_bucket(settings)
        with pytest.raises(PicturesUnavailable, match=told):
            place().open("images/ab/cat.jpg")
        server.shutdown()


def deployment() -> list[tuple[str | None, str]]:
    """Our own messages about the place of pictures."""
    messages = run_checks(include_deployment_checks=True)
    return [(each.id, each.msg) for each in messages if (each.id or "").startswith("catalog.")]


def test_check_is_content_with_a_bucket(s3: S3) -> None:
    assert deployment() == []


def test_check_names_the_mend_of_a_missing_bucket(
    s3: S3, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMSEARCH_MEDIA_URL", f"s3://missing?endpoint={s3.url}")
    use_bucket(settings)
    mend = "does not exist: make it, or correct MMSEARCH_MEDIA_URL."
    assert deployment() == [("catalog.E002", f"The pictures' bucket 'missing' {mend}")]


def test_check_names_the_mend_of_missing_credentials(
    s3: S3, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    use_bucket(settings)
    mend = "and there are none: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
    assert deployment() == [
        ("catalog.E002", f"The pictures' bucket 'pictures' needs credentials, {mend}")
    ]


def test_check_lets_a_start_pass_where_the_bucket_is_silent(s3: S3) -> None:
    with s3.silent():
        [(identifier, message)] = deployment()
    assert identifier == "catalog.W003"
    assert message.startswith("The pictures' bucket 'pictures' cannot be reached: ")
