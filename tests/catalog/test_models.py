from __future__ import annotations

from pathlib import Path

import pytest
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.db import IntegrityError
from pytest_django import DjangoCaptureOnCommitCallbacks

from catalog.ingest import ItemRecord, UploadedImage, ingest_one
from catalog.models import Item, caption_digest
from tests.catalog.pictures import encoded, files, photo

pytestmark = pytest.mark.django_db


def test_item_needs_a_caption_or_an_image() -> None:
    with pytest.raises(IntegrityError, match="item_has_caption_or_image"):
        Item.objects.create(item_id="empty", title="a title is not enough")


@pytest.mark.parametrize("item_id", ["a/b", " a", "a ", "a\n", "a#", ".", "..", ""])
def test_item_id_is_validated_in_forms(item_id: str) -> None:
    with pytest.raises(ValidationError) as error:
        Item(item_id=item_id, caption="x").full_clean()
    assert list(error.value.message_dict) == ["item_id"]


def test_saving_some_fields_keeps_the_hash_of_the_caption_true() -> None:
    item = Item.objects.create(item_id="a", caption="x")
    item.caption = "y"
    item.save(update_fields=["caption"])
    assert Item.objects.get().caption_hash == caption_digest(item.caption)


def test_names_of_an_item() -> None:
    assert str(Item(item_id="a", title="T", caption="c")) == "T"
    assert str(Item(item_id="a", caption="c" * 99)) == "c" * 60
    assert str(Item(item_id="a")) == "a"
    assert Item(image="images/ab/cat.jpg").image_name == "cat.jpg"


def test_deleting_an_item_deletes_its_files_after_commit(
    media: Path, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    ingest_one(ItemRecord(item_id="a", image=UploadedImage(data=encoded(photo(900, 900)))))
    assert len(files(media)) == 2
    with django_capture_on_commit_callbacks(execute=True):
        Item.objects.all().delete()
        assert len(files(media)) == 2
    assert files(media) == []


def test_deleting_an_item_whose_file_cannot_be_deleted_goes_through(
    media: Path, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    item = Item(item_id="a", caption="x", image_hash="ab")
    item.image.save("x.jpg", ContentFile(b"x"))
    path = Path(item.image.path)
    path.unlink()
    path.mkdir()
    (path / "in the way").touch()
    with django_capture_on_commit_callbacks(execute=True):
        item.delete()
    assert Item.objects.count() == 0
    assert media.exists()
