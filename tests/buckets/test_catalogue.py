"""A catalogue whose pictures lie in a bucket: every way in, every page, the worker, the sweep."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client, override_settings
from PIL import Image

from catalog.models import Item
from catalog.storage import place
from catalog.sweeping import sweep_pictures
from embeddings import worker
from embeddings.models import EmbeddingJob
from tests.conftest import picture
from tests.servers.s3 import BUCKET, S3

pytestmark = [pytest.mark.servers, pytest.mark.django_db]
MakeItem = Callable[..., Item]


def held() -> list[str]:
    """The keys that items name."""
    names = (name for item in Item.objects.all() for name in (item.image.name, item.preview.name))
    return sorted(f"shop/eu/{name}" for name in names if name)


def large_picture() -> bytes:
    """One that is kept beside a preview."""
    stream = io.BytesIO()
    Image.new("RGB", (1200, 900), "red").save(stream, "TIFF")
    return stream.getvalue()


def test_an_item_is_shown_from_the_bucket_and_taken_from_it_when_deleted(
    s3: S3, client: Client, space: Any, django_capture_on_commit_callbacks: Any
) -> None:
    upload = SimpleUploadedFile("big.tiff", large_picture())
    answer = client.post("/api/v1/items/", {"item_id": "big", "image": upload})
    assert answer.status_code == 201
    item = Item.objects.get()
    assert item.image.name
    assert item.preview.name
    assert s3.names() == held()
    assert item.image.name in answer.json()["image_url"]
    page = client.get("/items/big/").content.decode()
    assert item.preview.url in page
    original = client.get(item.image.url)
    assert original.getvalue() == large_picture()
    assert (original["Content-Type"], original["Content-Length"]) == (
        "image/tiff",
        str(len(large_picture())),
    )
    assert original["Cache-Control"] == "public, max-age=31536000, immutable"
    again = client.get(item.image.url, headers={"If-None-Match": original["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    with django_capture_on_commit_callbacks(execute=True):
        client.delete("/api/v1/items/big/")
    assert s3.names() == []
    assert client.get(item.image.url).status_code == 404


def test_only_what_an_item_holds_is_served_and_to_visitors_alone(
    s3: S3, client: Client, make_item: MakeItem
) -> None:
    item = make_item(colour="red")
    stray = place().save("images/00/stray.png", ContentFile(picture("red")))
    s3.client().put_object(Bucket=BUCKET, Key="secret.png", Body=picture("red"))
    assert client.get(f"/media/{stray}").status_code == 404
    assert client.get("/media/../../secret.png").status_code in {400, 404}
    with override_settings(MMSEARCH_API_AUTH="required"):
        answer = client.get(item.image.url)
    assert (answer.status_code, answer["Location"][:8]) == (302, "/login/?")
    s3.client().delete_object(Bucket=BUCKET, Key=f"shop/eu/{item.image.name}")
    assert client.get(item.image.url).status_code == 404


def test_ingest_dataset_copies_pictures_into_the_bucket_and_export_out_of_it(
    s3: S3, space: Any, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "red.png").write_bytes(picture("red"))
    call_command("ingest_dataset", str(tmp_path / "in"))
    assert s3.names() == held() != []
    out = io.StringIO()
    call_command("ingest_dataset", str(tmp_path / "in"), stdout=out)
    assert "Nothing has changed." in out.getvalue()
    with pytest.raises(CommandError, match=r"The pictures are in a bucket: .* --images DIR"):
        call_command("export_items", str(tmp_path / "items.csv"))
    call_command("export_items", str(tmp_path / "items.csv"), "--images", str(tmp_path / "out"))
    [copy] = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert copy.read_bytes() == picture("red")


def test_export_from_a_silent_bucket_does_not_call_pictures_missing(
    s3: S3, make_item: MakeItem, tmp_path: Path
) -> None:
    make_item(colour="red")
    target = tmp_path / "items.csv"
    with s3.silent(), pytest.raises(CommandError, match="cannot be reached"):
        call_command("export_items", str(target), "--images", str(tmp_path / "out"))
    assert not target.exists()


def test_sweep_deletes_what_no_item_names_and_nothing_else(s3: S3, make_item: MakeItem) -> None:
    make_item(colour="red")
    kept = held()
    foreign = ["secret_0123456789ab.png", "shop/eu/images/ab/holiday.jpg", "shop/eu/notes.txt"]
    orphans = [f"shop/eu/{f}/ab/cat_0123456789ab_aB3dE6g.jpg" for f in ("images", "previews")]
    for key in foreign + orphans:
        s3.client().put_object(Bucket=BUCKET, Key=key, Body=b"x")
    assert sweep_pictures() == 0
    assert sweep_pictures(grace=0) == 2
    assert s3.names() == sorted(kept + foreign)


def test_worker_lets_items_wait_while_the_bucket_is_silent(
    s3: S3, make_item: MakeItem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often it tries: none fails for what is no fault of its own."""
    monkeypatch.setattr("embeddings.jobs.POSTPONED", timedelta())
    items = [make_item(colour=colour) for colour in ("red", "green", "blue")]
    with s3.silent():
        for _ in range(5):
            assert worker.drain() == worker.DrainReport()
    jobs = EmbeddingJob.objects.values_list("attempts", "error", "claimed_by", "failed_at")
    assert list(jobs) == [(0, "", "", None)] * 3
    time.sleep(0.6)  # the rest of the bucket, which tests shorten
    assert worker.drain().indexed == len(items)


def test_worker_fails_an_item_whose_picture_is_gone(s3: S3, make_item: MakeItem) -> None:
    item = make_item(colour="red")
    s3.client().delete_object(Bucket=BUCKET, Key=f"shop/eu/{item.image.name}")
    assert worker.drain().failed == 1
    assert "is gone. Ingest the item again." in EmbeddingJob.objects.get().error


@pytest.mark.parametrize("path", ["/api/v1/items/", "/ingest_stream/", "/upload/"])
def test_a_silent_bucket_is_503_and_leaves_nothing(
    s3: S3, client: Client, space: Any, path: str
) -> None:
    client.raise_request_exception = False
    field = "image_file" if path == "/ingest_stream/" else "image"
    with s3.silent():
        answer = client.post(path, {field: SimpleUploadedFile("a.png", picture("red"))})
    assert answer.status_code == 503
    text = answer.content.decode()
    message = text if path == "/upload/" else json.loads(text)["detail"]
    assert message.startswith("The pictures' bucket 'pictures' cannot be reached: ")
    assert message.endswith(" Nothing was stored: send it again later.")
    if path != "/upload/":
        assert answer["Retry-After"] == "5"
    assert not Item.objects.exists()


def test_a_silent_bucket_is_told_to_every_line_of_bulk(s3: S3, client: Client, space: Any) -> None:
    image = base64.b64encode(picture("red")).decode()
    lines = [{"item_id": "a", "image": image}, {"item_id": "b", "caption": "b"}]
    body = "\n".join(map(json.dumps, lines)).encode()
    with s3.silent():
        answer = client.post("/api/v1/items/bulk/", body, "application/x-ndjson")
        outcomes = [json.loads(line) for line in answer.getvalue().splitlines()]
    assert [(each["line"], each["outcome"]) for each in outcomes] == [
        (1, "rejected"),
        (2, "rejected"),
    ]
    assert all(each["reason"].endswith("send it again later.") for each in outcomes)


def test_pages_of_a_silent_bucket_are_there_and_its_pictures_are_503(
    s3: S3, client: Client, indexed_items: dict[str, Item]
) -> None:
    with s3.silent():
        assert client.get("/", {"q": "red"}).status_code == 200
        assert client.get("/items/red/").status_code == 200
        answer = client.get(indexed_items["red"].image.url)
    assert (answer.status_code, answer["Retry-After"]) == (503, "5")
    assert answer["Cache-Control"] == "no-store"
    time.sleep(0.6)  # the rest of the bucket, which tests shorten
    assert client.get(indexed_items["red"].image.url).getvalue() == picture("red")


def test_a_picture_searched_with_lies_in_the_bucket(
    s3: S3, client: Client, indexed_items: dict[str, Item]
) -> None:
    def searched() -> Any:
        return client.post("/", {"picture_file": SimpleUploadedFile("a.png", picture("red"))})

    answer = searched()
    assert answer.status_code == 302, answer.content.decode()
    assert any("/queries/" in name for name in s3.names())
    page = client.get(answer["Location"])
    assert page.status_code == 200
    token = answer["Location"].partition("picture=")[2].partition("&")[0]
    assert client.get(f"/media/queries/{token}.png").getvalue()[:4] == b"\x89PNG"
    with s3.silent():
        assert client.get(answer["Location"]).status_code == 503
        assert searched().status_code == 503


@pytest.mark.django_db(transaction=True)
def test_ingest_dataset_waits_out_a_short_silence(s3: S3, space: Any, tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(picture((number, 0, 0)))
    done: list[str] = []

    def run() -> None:
        out = io.StringIO()
        call_command("ingest_dataset", str(tmp_path), stdout=out)
        connection.close()
        done.append(out.getvalue())

    with s3.silent():
        command = threading.Thread(target=run)
        command.start()
        time.sleep(3)
        assert not done
    command.join()
    assert "5 new" in done[0]
    assert s3.names() == held()
