"""What the catalogue does when its own rows go."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

from catalog.models import Item, LinkedFolder
from catalog.storage import delete_after_commit, forget_linked_folders


@receiver(post_delete, sender=Item, dispatch_uid="catalog.delete_files")
def delete_files(instance: Item, **_: Any) -> None:
    """Delete an item's own files once its deletion is committed."""
    for name in filter(None, (instance.image.name, instance.preview.name)):
        delete_after_commit(name)


@receiver([post_save, post_delete], sender=LinkedFolder, dispatch_uid="catalog.linked_folders")
def linked_folders_changed(**_: Any) -> None:
    forget_linked_folders()
    transaction.on_commit(forget_linked_folders)
