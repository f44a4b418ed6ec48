from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.db import connection
from django.test.utils import CaptureQueriesContext

from catalog import linking
from catalog.linking import linked_name
from catalog.models import Item, LinkedFolder
from catalog.storage import CatalogStorage, image_upload_path, preview_upload_path


@pytest.fixture
def album(db: None, tmp_path: Path) -> LinkedFolder:
    folder = tmp_path / "album"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "cat.jpg").write_bytes(b"cat")
    (tmp_path / "secret").write_bytes(b"secret")
    (folder / "out").symlink_to(tmp_path / "secret")
    return LinkedFolder.objects.create(path=str(folder))


def test_storage_opens_linked_pictures_where_they_are(album: LinkedFolder) -> None:
    with CatalogStorage().open(linked_name(album.pk, "sub/cat.jpg")) as stream:
        assert stream.read() == b"cat"


@pytest.mark.parametrize(
    "relative", ["../secret", "sub/../../secret", "out", "/etc/passwd", "sub\\..\\..\\secret"]
)
def test_storage_never_leaves_a_linked_folder(album: LinkedFolder, relative: str) -> None:
    with pytest.raises(SuspiciousFileOperation, match="leads out of the linked folder"):
        CatalogStorage().path(linked_name(album.pk, relative))


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "images/../../x"])
def test_storage_never_leaves_the_media_folder(name: str) -> None:
    with pytest.raises(SuspiciousFileOperation):
        CatalogStorage().path(name)


def test_storage_refuses_a_folder_that_is_not_allowed(album: LinkedFolder) -> None:
    with pytest.raises(SuspiciousFileOperation, match="is not allowed"):
        CatalogStorage().path(linked_name(album.pk + 1, "sub/cat.jpg"))


def test_storage_asks_for_a_folder_once_and_hears_of_changes(
    album: LinkedFolder, tmp_path: Path
) -> None:
    name = linked_name(album.pk, "sub/cat.jpg")
    linking.forget_linked_folders()
    with CaptureQueriesContext(connection) as queries:
        paths = {CatalogStorage().path(name) for _ in range(5)}
    assert (len(queries), paths) == (1, {str(tmp_path / "album/sub/cat.jpg")})
    album.path = str(tmp_path)
    album.save()
    assert CatalogStorage().path(name) == str(tmp_path / "sub/cat.jpg")


def test_storage_hears_of_another_process_after_a_while(
    album: LinkedFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = linked_name(album.pk, "sub/cat.jpg")
    CatalogStorage().path(name)
    LinkedFolder.objects.filter(pk=album.pk).update(path="/elsewhere")  # sends no signal
    monkeypatch.setattr(linking, "LINKS_TRUSTED_FOR", 0.0)
    assert CatalogStorage().path(name) == "/elsewhere/sub/cat.jpg"


def test_storage_deletes_its_own_files_only(album: LinkedFolder, media: Path) -> None:
    storage = CatalogStorage()
    stored = storage.save("images/x", ContentFile(b"x"))
    storage.delete(stored)
    storage.delete(linked_name(album.pk, "sub/cat.jpg"))
    assert not (media / stored).exists()
    assert (Path(album.path) / "sub/cat.jpg").exists()


def test_storage_gives_every_file_a_name_of_its_own(media: Path) -> None:
    """Two hosts that store one picture at once would both find the plain name free."""
    names = [CatalogStorage().save("images/ab/cat.jpg", ContentFile(b"x")) for _ in range(2)]
    assert len(set(names)) == 2
    assert all(re.fullmatch(r"images/ab/cat_\w{7}\.jpg", name) for name in names)
    assert sorted(p.name for p in media.rglob("*.jpg")) == sorted(n[10:] for n in names)


def test_storage_stores_nothing_in_a_linked_folder(album: LinkedFolder) -> None:
    with pytest.raises(SuspiciousFileOperation, match="read only"):
        CatalogStorage().save(linked_name(album.pk, "new.jpg"), ContentFile(b"x"))


def test_upload_paths_are_short_and_harmless() -> None:
    item = Item(item_id="../../étage: 7" + "x" * 200, image_hash="ab" * 32)
    assert image_upload_path(item, "C:/evil/name.JPEG") == (
        f"images/ab/étage_7{'x' * 37}_abababababab.jpeg"
    )
    assert preview_upload_path(Item(item_id=";:!", image_hash="cd" * 32), "p.jpg") == (
        "previews/cd/item_cdcdcdcdcdcd.jpg"
    )
    longest = image_upload_path(Item(item_id="\U00020000" * 200, image_hash="ab" * 32), "x.tiff")
    assert len(longest.rpartition("/")[2].encode()) < 230
