"""What the catalogue does when its own rows come, change and go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from django.db import connection, transaction
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete
from django.dispatch import receiver

from catalog.deletion import hold_items
from catalog.linking import forget_linked_folders
from catalog.models import Item, ItemChange, ItemWords, LinkedFolder, Tag
from catalog.signals import items_changed, items_deleting
from catalog.storage import delete_after_commit
from catalog.words.writing import index_items

_LOG: Final = f"INSERT INTO {ItemChange._meta.db_table} (item) VALUES (%s)"  # noqa: S608  a name
_losing: dict[int, list[int]] = {}
"""Keys of the items that tags had, by the tag's key, while they are being taken off."""


@receiver(post_delete, sender=Item, dispatch_uid="catalog.delete_files")
def delete_files(instance: Item, **_: Any) -> None:
    """Delete an item's own files once its deletion is committed."""
    delete_after_commit((instance.image.name, instance.preview.name))


@receiver([post_save, post_delete], sender=LinkedFolder, dispatch_uid="catalog.linked_folders")
def linked_folders_changed(**_: Any) -> None:
    forget_linked_folders()
    transaction.on_commit(forget_linked_folders)


@receiver(post_save, sender=Item, dispatch_uid="catalog.item_saved")
def item_saved(instance: Item, **_: Any) -> None:
    items_changed.send(Item, item_ids=[instance.pk])


@receiver(m2m_changed, sender=Item.tags.through, dispatch_uid="catalog.tags_changed")
def tags_changed(
    instance: Item | Tag, action: str, pk_set: set[int] | None, reverse: bool, **_: Any
) -> None:
    """Tags were put on items, or taken off, through either side of the relation."""
    if isinstance(instance, Tag) and action == "pre_clear":
        _losing[instance.pk] = _items_of(instance)
    if action in {"post_add", "post_remove", "post_clear"}:
        taken_off = _losing.pop(instance.pk, []) if reverse else [instance.pk]
        _changed(pk_set if reverse and pk_set else taken_off)


@receiver(post_save, sender=Tag, dispatch_uid="catalog.tag_renamed")
def tag_renamed(instance: Tag, created: bool, **_: Any) -> None:
    if not created:
        _changed(_items_of(instance))


@receiver(pre_delete, sender=Tag, dispatch_uid="catalog.tag_deleting")
def tag_deleting(instance: Tag, **_: Any) -> None:
    _losing[instance.pk] = _items_of(instance)


@receiver(post_delete, sender=Tag, dispatch_uid="catalog.tag_deleted")
def tag_deleted(instance: Tag, **_: Any) -> None:
    _changed(_losing.pop(instance.pk, ()))


@receiver(items_changed, dispatch_uid="catalog.log_changes")
@receiver(items_deleting, dispatch_uid="catalog.log_deletions")
def log_changes(item_ids: Sequence[int], **_: Any) -> None:
    # Past the models, which take as long as all words: this runs for every item that comes.
    with connection.cursor() as cursor:
        cursor.executemany(_LOG, [(item_id,) for item_id in item_ids])


@receiver(items_changed, dispatch_uid="catalog.index_words")
def index_words(item_ids: Sequence[int], **_: Any) -> None:
    index_items(item_ids)


@receiver(items_deleting, dispatch_uid="catalog.forget_words")
def forget_words(item_ids: Sequence[int], **_: Any) -> None:
    ItemWords.objects.filter(item__in=item_ids).delete()


@receiver(pre_delete, sender=Item, dispatch_uid="catalog.log_deletion")
def log_deletion(instance: Item, **_: Any) -> None:
    hold_items([instance.pk])
    log_changes([instance.pk])


def _items_of(tag: Tag) -> list[int]:
    return list(tag.items.order_by("pk").values_list("pk", flat=True))


def _changed(item_ids: Iterable[int]) -> None:
    if ordered := sorted(item_ids):
        items_changed.send(Item, item_ids=ordered)
