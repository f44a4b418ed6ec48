from __future__ import annotations

import fcntl
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.utils import timezone
from django_q.signals import pre_execute

from catalog.models import Item
from embeddings import jobs, model_lock, tasks
from embeddings.backends import encoder_of
from embeddings.models import EmbeddingJob, EmbeddingSpace
from tests import encoders, nudges


def test_a_nudge_beside_a_running_drain_returns_at_once(make_item: Callable[..., Item]) -> None:
    make_item(caption="waits")
    nudges.forget()
    with (settings.MMSEARCH_DATA_DIR / "embedding.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert tasks.embed_pending() == 0
    assert EmbeddingJob.objects.count() == 1
    assert nudges.queued() == []  # whoever holds the lock looks again

    assert tasks.embed_pending() == 1
    assert nudges.queued() == []  # nothing left: no chain


def test_another_process_that_holds_the_model_is_left_to_embed(
    make_item: Callable[..., Item],
) -> None:
    model_lock.let_go()
    make_item(caption="waits")
    nudges.forget()
    encoders.ENCODED.clear()
    with (settings.MMSEARCH_DATA_DIR / "model.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert tasks.embed_pending() == 0
        assert nudges.queued() == ["embeddings.tasks.embed_pending"]  # for the other

    assert not encoders.ENCODED
    assert tasks.embed_pending() == 1


def test_the_model_is_held_until_other_work_begins(
    make_item: Callable[..., Item], space: EmbeddingSpace
) -> None:
    def is_free() -> bool:
        with (settings.MMSEARCH_DATA_DIR / "model.lock").open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    make_item(caption="one")
    tasks.embed_pending()
    held = encoder_of(space)
    pre_execute.send("django_q", func=None, task={"func": jobs.EMBED_PENDING})
    assert (is_free(), encoder_of(space) is held) == (False, True)

    pre_execute.send("django_q", func=None, task={"func": "embeddings.tasks.sweep"})
    assert (is_free(), encoder_of(space) is held) == (True, False)


def test_the_sweep_asks_for_saved_items_and_now_and_then_for_all(
    space: EmbeddingSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "_looked", {})
    assert tasks.sweep() == 0
    fresh, old = (Item(item_id=name, caption=name) for name in ("fresh", "old"))
    Item.objects.bulk_create([fresh, old])  # past the signals
    Item.objects.filter(pk=old.pk).update(updated_at="2000-01-01T00:00Z")

    assert tasks.sweep() == 1
    assert EmbeddingJob.objects.get().item_id == fresh.pk
    assert tasks.sweep() == 0
    monkeypatch.setattr(tasks, "FULL_LOOK_EVERY", timedelta())
    assert tasks.sweep() == 1
    assert EmbeddingJob.objects.filter(item=old).exists()


def test_retry_failed_says_how_many(
    make_item: Callable[..., Item], capsys: pytest.CaptureFixture[str]
) -> None:
    first, _ = make_item(caption="one"), make_item(caption="two")
    EmbeddingJob.objects.update(attempts=3, failed_at=timezone.now())
    call_command("retry_failed", first.item_id)
    assert capsys.readouterr().out == "1 failed items wait for another attempt.\n"
    call_command("retry_failed")
    assert capsys.readouterr().out == "1 failed items wait for another attempt.\n"


def test_retry_failed_names_an_id_that_no_item_has(make_item: Callable[..., Item]) -> None:
    item = make_item(caption="one")
    EmbeddingJob.objects.update(attempts=3, failed_at=timezone.now())
    with pytest.raises(CommandError, match="There is no item 'nosuch'"):
        call_command("retry_failed", item.item_id, "nosuch")
    assert EmbeddingJob.objects.filter(failed_at__isnull=False).count() == 1
