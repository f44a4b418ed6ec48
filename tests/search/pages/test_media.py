"""Pictures over HTTP: from the catalogue's folders alone, as pictures or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client, override_settings

from catalog.ingest import ItemRecord, LocalImage, OutcomeKind, ingest
from catalog.models import Item
from tests.conftest import picture
from tests.plans import plan_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def media_file() -> Callable[[str, bytes], Path]:
    def write(name: str, data: bytes) -> Path:
        path = Path(settings.MEDIA_ROOT) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    return write


def test_media_serves_a_picture_to_be_kept(client: Client, make_item: Callable[..., Item]) -> None:
    item = make_item(colour="red")
    response = client.get(item.image.url)
    assert response.getvalue() == picture("red")
    assert response["Content-Type"] == "image/png"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Cache-Control"] == "public, max-age=31536000, immutable"
    assert response["Content-Security-Policy"] == "default-src 'none'; sandbox"
    etag, modified = response["ETag"], response["Last-Modified"]
    assert client.get(item.image.url, headers={"If-None-Match": etag}).status_code == 304
    assert client.get(item.image.url, headers={"If-Modified-Since": modified}).status_code == 304


@override_settings(MMSEARCH_API_AUTH="required")
def test_media_of_a_closed_site_is_kept_by_the_visitor_alone(
    admin_client: Client, make_item: Callable[..., Item]
) -> None:
    response = admin_client.get(make_item(colour="red").image.url)
    assert response.getvalue() == picture("red")
    assert response["Cache-Control"] == "private, max-age=31536000, immutable"


def test_media_never_shows_what_is_no_picture(
    client: Client, media_file: Callable[[str, bytes], Path]
) -> None:
    media_file("images/00/page.html", b"<script>alert(1)</script>")
    Item.objects.create(item_id="page", image="images/00/page.html")
    response = client.get("/media/images/00/page.html")
    assert response.getvalue() == b"<script>alert(1)</script>"
    assert response["Content-Type"] == "application/octet-stream"
    assert response["Content-Disposition"] == 'attachment; filename="page.html"'


@pytest.mark.parametrize(
    "path",
    [
        "../secret_key",
        "..%2fsecret_key",
        "images/../../secret_key",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "images",
        "images/",
        "no/such.png",
        "a%00.png",
        "linked/1/x.png",
        "linked/99999999999999999999/x.png",
        "x" * 3000 + ".png",
    ],
)
def test_media_leads_nowhere_else(client: Client, path: str) -> None:
    assert (Path(settings.MEDIA_ROOT).parent / "secret_key").exists()
    assert client.get(f"/media/{path}").status_code in {400, 404}


@pytest.fixture
def linked(tmp_path: Path, make_item: Callable[..., Item]) -> str:
    """Storage name of the folder of an item's linked picture, beside which other files lie."""
    root = tmp_path / "shared"
    (root / "a b").mkdir(parents=True)
    (root / "a b" / "red.png").write_bytes(picture("red"))
    (root / "blue.png").write_bytes(picture("blue"))
    (root / "secret.txt").write_text("private")
    (tmp_path / "outside.png").write_bytes(picture("blue"))
    (root / "link.png").symlink_to(tmp_path / "outside.png")
    (outcome,) = ingest([record_of_linked(root / "a b" / "red.png", root)])
    assert outcome.kind is OutcomeKind.NEW
    name = Item.objects.get(item_id="linked").image.name
    assert name is not None
    return name.removesuffix("/a b/red.png")


def record_of_linked(path: Path, root: Path) -> ItemRecord:
    return ItemRecord(item_id="linked", image=LocalImage(path=path, linked_root=root))


def test_media_serves_the_linked_picture_of_an_item(client: Client, linked: str) -> None:
    response = client.get(f"/media/{linked}/a b/red.png")
    assert response.getvalue() == picture("red")
    assert response["Cache-Control"] == "public, max-age=300"


@pytest.mark.parametrize(
    "name",
    [
        "secret.txt",
        "blue.png",
        "../outside.png",
        "..%2foutside.png",
        "link.png",
        "a b",
        "a b/../a b/red.png",
        "./a b/red.png",
    ],
)
def test_media_serves_nothing_else_of_a_linked_folder(
    client: Client, linked: str, name: str
) -> None:
    assert client.get(f"/media/{linked}/{name}").status_code == 404
    backslashed = f"{linked}/{name}".replace("/", "%5C")
    assert client.get(f"/media/{backslashed}").status_code == 404


def test_media_serves_no_file_that_no_item_holds(
    client: Client, media_file: Callable[[str, bytes], Path]
) -> None:
    media_file("images/00/stray.png", picture("red"))
    media_file("queries/notes.txt", b"private")
    assert client.get("/media/images/00/stray.png").status_code == 404
    assert client.get("/media/queries/notes.txt").status_code == 404


def test_media_finds_the_item_of_a_name_by_index() -> None:
    reads = plan_of(Item.objects.with_file("images/00/a.png").order_by()).reads
    assert {read.index for read in reads} == {"item_image_name", "item_preview_name"}
    assert all(read.columns for read in reads)
