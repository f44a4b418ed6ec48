"""How embeddings follow the catalogue, and what a worker does when it starts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from django.db.models.signals import post_save, pre_delete
from django.dispatch import receiver
from django_q.signals import post_spawn, pre_execute

from catalog.models import Item
from catalog.signals import items_deleting, items_saved
from embeddings import jobs, model_lock, presence, schedules
from embeddings.change_log import hold_logs, write_lines
from embeddings.models import Embedding, EmbeddingJob, EmbeddingSpace

logger = logging.getLogger(__name__)

schedules.each_minute("sweep", "embeddings.tasks.sweep")
schedules.each_day("sweep files", "embeddings.tasks.sweep_files")
schedules.each_minute_on_each_host("sweep models", "embeddings.tasks.sweep_models")


@receiver(post_save, sender=Item, dispatch_uid="embeddings.enqueue_item")
def enqueue_item(instance: Item, **_: Any) -> None:
    jobs.enqueue([instance.pk])


@receiver(items_saved, dispatch_uid="embeddings.enqueue_items")
def enqueue_items(item_ids: Sequence[int], **_: Any) -> None:
    jobs.enqueue(item_ids)


@receiver(pre_delete, sender=Item, dispatch_uid="embeddings.log_removal")
def log_removal(instance: Item, **_: Any) -> None:
    """Log the removal of an item's vectors in the deleting transaction."""
    _log_removals([instance.pk])


@receiver(items_deleting, dispatch_uid="embeddings.remove_vectors")
def remove_vectors(item_ids: Sequence[int], **_: Any) -> None:
    """Log the removal of many items' vectors, and take them and the jobs away by one statement."""
    _log_removals(item_ids)
    Embedding.objects.filter(item__in=item_ids).delete()
    EmbeddingJob.objects.filter(item__in=item_ids).delete()


def _log_removals(item_ids: Sequence[int]) -> None:
    """Log what the items have, and see to it that no more vectors come before they are gone."""
    hold_logs(EmbeddingSpace.objects.exclude(state=EmbeddingSpace.State.RETIRED))
    keys = Embedding.objects.filter(item__in=item_ids)
    write_lines(keys.values_list("space_id", "modality", "item_id"))


@receiver(pre_execute, dispatch_uid="embeddings.let_go_of_model")
def let_go_of_model(task: dict[str, Any], **_: Any) -> None:
    """Before other work, which may take long, free the model: another process may embed then."""
    if task["func"] != jobs.EMBED_PENDING:
        model_lock.let_go()


@receiver(post_spawn, dispatch_uid="embeddings.start_worker")
def start_worker(**_: Any) -> None:
    """Say that a worker lives, and begin with what the last one left."""
    presence.Presence(presence.Role.WORKING).begin()
    from embeddings.tasks import sweep

    try:
        sweep()
    except Exception:
        logger.exception("The first sweep failed; the scheduled one tries again")
