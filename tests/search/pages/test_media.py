"""Pictures over HTTP: from the catalogue's folders alone, as pictures or not at all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client, override_settings

from catalog.models import Item, LinkedFolder
from catalog.storage import linked_name
from tests.conftest import picture

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
    with closing(client.get(item.image.url)) as response:
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
    with closing(admin_client.get(make_item(colour="red").image.url)) as response:
        assert response["Cache-Control"] == "private, max-age=31536000, immutable"


def test_media_never_shows_what_is_no_picture(
    client: Client, media_file: Callable[[str, bytes], Path]
) -> None:
    media_file("images/00/page.html", b"<script>alert(1)</script>")
    with closing(client.get("/media/images/00/page.html")) as response:
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


def test_media_serves_pictures_of_a_linked_folder_and_nothing_else_of_it(
    client: Client, tmp_path: Path
) -> None:
    root = tmp_path / "shared"
    (root / "a b").mkdir(parents=True)
    (root / "a b" / "red.png").write_bytes(picture("red"))
    (root / "letter.txt").write_text("private")
    (tmp_path / "outside.png").write_bytes(picture("blue"))
    (root / "link.png").symlink_to(tmp_path / "outside.png")
    folder = LinkedFolder.objects.create(path=str(root))
    with closing(client.get(f"/media/{linked_name(folder.pk, 'a b/red.png')}")) as response:
        assert response.getvalue() == picture("red")
        assert response["Cache-Control"] == "public, max-age=300"
    for name in ("letter.txt", "../outside.png", "..%2foutside.png", "link.png", "a b"):
        assert client.get(f"/media/{linked_name(folder.pk, name)}").status_code == 404
