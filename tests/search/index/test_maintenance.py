from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db.models.functions import Now

from catalog.models import Item
from embeddings import per_space, worker
from embeddings.encoders.base import Modality
from embeddings.models import Embedding, EmbeddingSpace, LivingProcess, VectorChange
from embeddings.presence import EXPIRY
from embeddings.retiring import free, retire_space
from search.answer.answering import search
from search.answer.syntax import ask
from search.index import maintenance
from search.index.space_index import active_index, space_directory, synced_index
from search.index.stores.faiss.snapshot import SnapshotDirectory
from search.tasks import maintain_index
from tests.spaces import take_over


def grow_old(folder: Path) -> None:
    past = (folder / maintenance.UNUSED).stat().st_mtime - maintenance.UNUSED_GRACE - 1
    os.utime(folder / maintenance.UNUSED, (past, past))


def test_a_space_opened_again_holds_no_ghosts(
    space: EmbeddingSpace, indexed_items: dict[str, Item]
) -> None:
    index = active_index()
    index.catch_up()
    assert maintenance.compact(index, force=True) == 2
    assert maintenance.prune_log(index) > 0
    take_over("other")
    retire_space(space)
    sum(free(space))
    for name in ("red", "green"):
        indexed_items[name].delete()
    again = take_over("colour")

    assert {hit.item.item_id for hit in search(ask("red", all=True)).hits} == {"blue", "words"}
    assert all(each.agrees for each in maintenance.compare(active_index()))
    assert VectorChange.objects.exclude(space=again).filter(space=space).count() == 0


@pytest.mark.usefixtures("indexed_items")
def test_folders_of_retired_and_unknown_spaces_go_after_a_while(space: EmbeddingSpace) -> None:
    index = active_index()
    index.catch_up()
    maintenance.compact(index, force=True)
    retired = space_directory(space)
    unknown = settings.MMSEARCH_INDEX_DIR / "earlier"
    foreign = settings.MMSEARCH_INDEX_DIR / "backup"
    (unknown / "image").mkdir(parents=True)
    (foreign / "papers").mkdir(parents=True)
    used = take_over("other")
    retire_space(space)
    sum(free(space))
    kept = active_index()
    kept.catch_up()
    maintenance.compact(kept, force=True)
    maintain_index()
    assert retired.exists()
    assert unknown.exists()
    grow_old(retired)
    grow_old(unknown)
    maintain_index()
    assert not retired.exists()
    assert not unknown.exists()
    assert foreign.exists()
    assert space_directory(used).exists()


@pytest.mark.usefixtures("indexed_items")
def test_a_folder_in_use_again_is_kept(space: EmbeddingSpace) -> None:
    index = active_index()
    index.catch_up()
    maintenance.compact(index, force=True)
    folder = space_directory(space)
    (folder / maintenance.UNUSED).touch()
    grow_old(folder)

    maintain_index()

    assert sorted(each.name for each in folder.iterdir()) == ["image", "text"]


HOLD_THE_LOCK = """
import fcntl, sys
with open(sys.argv[1], "ab") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.usefixtures("indexed_items")
def test_rebuild_waits_for_a_process_that_writes_the_index(space: EmbeddingSpace) -> None:
    settings.MMSEARCH_INDEX_DIR.mkdir(parents=True)
    lock = settings.MMSEARCH_INDEX_DIR / "maintenance.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_THE_LOCK, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        assert maintain_index() == 0
        end_other = other.stdin.close

        class Told(io.StringIO):
            def write(self, text: str) -> int:
                if "waiting until it is done" in text:
                    end_other()
                return super().write(text)

        told = Told()
        call_command("rebuild_index", stdout=told)

    lines = told.getvalue().splitlines()
    assert lines[0] == "Another process is writing the index; waiting until it is done …"
    assert "snapshots of 3 image and 1 text vectors written." in lines[-1]
    for modality in ("image", "text"):
        assert len(list((space_directory(space) / modality).glob("snapshot-*"))) == 1


@pytest.mark.usefixtures("indexed_items")
def test_rebuild_writes_a_modality_that_became_empty() -> None:
    call_command("rebuild_index", stdout=io.StringIO())
    Embedding.objects.filter(modality=Modality.IMAGE).delete()  # behind the log's back
    per_space.reset()
    assert [len(store) for store in synced_index().stores.values()] == [3, 1]

    told = io.StringIO()
    call_command("rebuild_index", stdout=told)

    assert "snapshots of 0 image and 1 text vectors written." in told.getvalue()
    per_space.reset()
    assert [len(store) for store in synced_index().stores.values()] == [0, 1]


@pytest.mark.usefixtures("indexed_items")
def test_rebuild_mends_what_check_index_calls_damaged(space: EmbeddingSpace) -> None:
    call_command("rebuild_index", stdout=io.StringIO())
    (file,) = (space_directory(space) / "image").rglob("live.npy")
    file.write_bytes(b"?" * file.stat().st_size)
    told = io.StringIO()
    with pytest.raises(CommandError, match="Files of the index are damaged"):
        call_command("check_index", stdout=told)
    assert f"damaged: {file} does not match its checksum" in told.getvalue()

    per_space.reset()
    call_command("rebuild_index", stdout=io.StringIO())

    call_command("check_index", stdout=told)
    assert told.getvalue().endswith("Database and index agree.\n")


@pytest.mark.parametrize("logged", [False, True])
def test_a_vector_that_no_index_can_hold_is_named_and_made_again(
    space: EmbeddingSpace, indexed_items: dict[str, Item], logged: bool
) -> None:
    call_command("rebuild_index", stdout=io.StringIO())
    (file,) = (space_directory(space) / "text").rglob("live.npy")
    file.write_bytes(b"?" * file.stat().st_size)
    row = Embedding.objects.get(item=indexed_items["red"])
    not_finite = b"\x00\x7e" * (len(row.vector) // 2)
    Embedding.objects.filter(pk=row.pk).update(vector=not_finite)
    if logged:
        VectorChange.objects.create(space=space, modality=row.modality, vector_item=row.item_id)
    per_space.reset()
    told = io.StringIO()

    both = (
        r"^Index and database differ\. Files of the index are damaged\. `manage.py rebuild_index`"
    )
    same = "0 missing, 0 surplus, 0 different"
    counted = (
        "2 in the index, 1 missing, 0 surplus, 0"
        if logged
        else "3 in the index, 0 missing, 0 surplus, 1"
    )
    with pytest.raises(CommandError, match=both):
        call_command("check_index", stdout=told)
    assert told.getvalue().splitlines()[:3] == [
        f"image: 3 vectors in the database, {counted} different: they DIFFER.",
        "  item red: its image vector holds NaN or infinity",
        f"text: 1 vectors in the database, 1 in the index, {same}: they are DAMAGED on disk.",
    ]

    call_command("rebuild_index", stdout=told)
    assert "1 items have a vector with NaN or infinity: embedded again." in told.getvalue()
    worker.drain()
    call_command("check_index", stdout=told)
    assert told.getvalue().endswith("Database and index agree.\n")


@pytest.mark.usefixtures("indexed_items")
def test_rebuild_stopped_by_the_keyboard_leaves_what_was_there(
    space: EmbeddingSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    call_command("rebuild_index", stdout=io.StringIO())
    before = sorted(space_directory(space).rglob("*"))

    def interrupted(*_: object, **__: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(SnapshotDirectory, "seal", interrupted)
    with pytest.raises(CommandError, match=r"^Stopped\.") as caught:
        call_command("rebuild_index", stdout=io.StringIO())

    assert caught.value.returncode == 130
    assert sorted(space_directory(space).rglob("*")) == before


def test_the_log_is_pruned_where_nothing_is_written_and_one_modality_is_empty(
    make_item: Callable[..., Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(settings.MMSEARCH_STORES["faiss"]["OPTIONS"], "exact_rows", 1)
    for number in range(3):
        make_item(caption=f"caption {number}")
    worker.drain()
    index = active_index()
    index.catch_up()
    assert maintenance.compact(index) == 1
    assert VectorChange.objects.count() == 3

    assert maintain_index() == 0

    assert VectorChange.objects.count() == 0
    assert [store.stats().delta for store in index.stores.values()] == [0, 0]


def test_the_log_is_kept_for_the_slowest_living_reader_of_all_hosts(
    make_item: Callable[..., Item], space: EmbeddingSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        make_item(caption=f"caption {number}")
    worker.drain()
    first, second, _ = VectorChange.objects.order_by("seq").values_list("seq", flat=True)
    for name, position in (("slow", first), ("fast", second)):
        LivingProcess.objects.create(
            pk=name, host=name, pid=1, seen_at=Now(), reads_from={str(space.pk): position, "0": 0}
        )
    index = active_index()
    index.catch_up()
    assert maintenance.compact(index, force=True) == 2

    assert maintenance.prune_log(index) == 1
    LivingProcess.objects.filter(pk="slow").update(seen_at=Now() - 2 * EXPIRY)
    assert maintenance.prune_log(index) == 1
    LivingProcess.objects.all().delete()
    assert maintenance.prune_log(index) == 1
    space.refresh_from_db()
    assert (VectorChange.objects.count(), space.log_start) == (0, index.position)


def test_a_modality_at_rest_does_not_hold_back_the_log(
    indexed_items: dict[str, Item],
    make_item: Callable[..., Item],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(maintenance, "LOG_LINES", 3)
    index = active_index()
    index.catch_up()
    maintenance.compact(index, force=True)
    for _ in range(8):
        make_item()
        worker.drain()
        maintain_index()

    # Two snapshots are kept, and the log from the older one on.
    assert VectorChange.objects.count() <= 2 * (maintenance.LOG_LINES + 1)
    per_space.reset()
    assert all(each.agrees for each in maintenance.compare(active_index()))
    assert len(active_index().stores[Modality.TEXT]) == 9
