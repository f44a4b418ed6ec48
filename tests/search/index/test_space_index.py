from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import OperationalError

from catalog.models import Item
from embeddings import per_space, worker
from embeddings.encoders.base import Modality
from embeddings.models import Embedding, EmbeddingSpace, VectorChange
from embeddings.query_vectors import encode_query, recent_query_vectors
from search.answer.answering import search
from search.answer.syntax import ask
from search.index import local_index, maintenance, stored_vectors
from search.index.local_index import LocalIndex
from search.index.space_index import SpaceIndex, active_index, space_directory
from search.index.stores.base import Ids, Vectors
from search.index.stores.faiss.store import FaissStore
from search.index.stores.replica import Replica, Tuning
from search.tasks import maintain_index
from tests.numpy_store import NumpyStore


def answers(top_n: int = 10) -> list[tuple[str, float]]:
    hits = search(ask("red", top_n=top_n, all=True)).hits
    return [(hit.item.item_id, hit.score) for hit in hits]


def snapshot(index: SpaceIndex) -> None:
    index.catch_up()
    assert maintenance.compact(index, force=True) == 2


@pytest.fixture
def index(indexed_items: dict[str, Item]) -> SpaceIndex:
    return active_index()


def test_without_snapshots_the_same_answers(index: SpaceIndex, space: EmbeddingSpace) -> None:
    snapshot(index)
    before = answers()
    shutil.rmtree(space_directory(space))
    per_space.reset()

    assert answers() == before


def test_a_snapshot_is_taken_up_and_the_log_replayed_from_it(
    index: SpaceIndex, make_item: Callable[..., Item]
) -> None:
    snapshot(index)
    make_item(item_id="later", colour="purple")
    worker.drain()
    Item.objects.get(item_id="green").delete()
    expected = answers()

    per_space.reset()

    assert answers() == expected
    assert {name for name, _ in expected} == {"red", "blue", "words", "later"}
    assert active_index().stores[Modality.IMAGE].stats().snapshot_position > 0


@pytest.mark.parametrize("damage", ["truncate", "garbage", "empty"])
def test_a_damaged_snapshot_means_reading_the_database(
    index: SpaceIndex, space: EmbeddingSpace, damage: str
) -> None:
    snapshot(index)
    before = answers()
    for path in space_directory(space).rglob("*"):
        if path.is_file():
            break_file(path, damage)
    per_space.reset()

    assert answers() == before


def break_file(path: Path, damage: str) -> None:
    data = path.read_bytes()
    path.unlink()  # an open memory map keeps the old file
    path.write_bytes(
        {"truncate": data[: len(data) // 2], "garbage": b"?" * len(data)}.get(damage, b"")
    )


def test_a_reader_behind_the_pruned_log_reads_everything_anew(
    index: SpaceIndex, make_item: Callable[..., Item]
) -> None:
    index.catch_up()
    make_item(item_id="later", colour="purple")
    worker.drain()
    pruner = LocalIndex(EmbeddingSpace.objects.get())
    for _ in range(2):  # the log is kept from the previous snapshot on
        snapshot(pruner)
        make_item(item_id=f"change-{VectorChange.objects.count()}", colour="white")
        worker.drain()
        pruner.catch_up()
    maintenance.compact(pruner, force=True)
    assert maintenance.prune_log(pruner) > 0
    shutil.rmtree(space_directory(EmbeddingSpace.objects.get()))

    assert "later" in [name for name, _ in answers()]
    assert all(each.agrees for each in maintenance.compare(index))


def test_a_log_pruned_during_the_replay_means_reading_everything_anew(
    index: SpaceIndex, make_item: Callable[..., Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    index.catch_up()
    make_item(item_id="later", colour="purple")
    worker.drain()
    log_end = index.log_end

    def log_end_then_pruned() -> tuple[int, int]:
        monkeypatch.undo()
        found = log_end()
        pruner = LocalIndex(EmbeddingSpace.objects.get())
        snapshot(pruner)
        assert maintenance.prune_log(pruner) > 0
        shutil.rmtree(space_directory(EmbeddingSpace.objects.get()))
        return found

    monkeypatch.setattr(index, "log_end", log_end_then_pruned)
    index.catch_up()

    assert all(each.agrees for each in maintenance.compare(index))


def test_check_index_says_with_counts_that_all_agrees(
    index: SpaceIndex, capsys: pytest.CaptureFixture[str]
) -> None:
    index.catch_up()
    call_command("check_index")

    out = capsys.readouterr().out.splitlines()
    same = "0 missing, 0 surplus, 0 different: they agree."
    assert out == [
        f"image: 3 vectors in the database, 3 in the index, {same}",
        f"text: 1 vectors in the database, 1 in the index, {same}",
        f"words: 4 items in the database, {same}",
        "items: 4, of which 4 indexed, 0 pending, 0 failed.",
        "Database and index agree.",
    ]


def test_check_index_finds_every_kind_of_difference_and_rebuild_mends_it(
    index: SpaceIndex, capsys: pytest.CaptureFixture[str]
) -> None:
    index.catch_up()
    red, green, blue = Embedding.objects.filter(modality="image").order_by("item")
    Embedding.objects.filter(pk=red.pk).update(vector=green.vector)
    Embedding.objects.filter(pk=blue.pk).delete()
    Embedding.objects.create(
        space=red.space,
        item=Item.objects.get(item_id="words"),
        modality="image",
        content_hash="x",
        vector=green.vector,
    )

    with pytest.raises(CommandError, match="rebuild_index"):
        call_command("check_index")
    assert (
        "3 in the index, 1 missing, 1 surplus, 1 different: they DIFFER" in capsys.readouterr().out
    )

    call_command("rebuild_index")
    call_command("check_index")
    assert "Database and index agree." in capsys.readouterr().out


def test_a_database_from_the_past_is_read_anew(index: SpaceIndex) -> None:
    index.catch_up()
    last = VectorChange.objects.order_by("-seq")[0]
    Embedding.objects.filter(item_id=last.vector_item).delete()
    last.delete()

    index.sync()

    assert all(each.agrees for each in maintenance.compare(index))


@pytest.mark.usefixtures("indexed_items")
def test_maintenance_gives_the_pages_of_its_snapshots_back(
    space: EmbeddingSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = answers()
    options = settings.MMSEARCH_STORES["faiss"]["OPTIONS"]
    monkeypatch.setitem(options, "exact_rows", 1)
    per_space.reset()
    assert maintain_index() == 2
    maps = Path("/proc/self/maps").read_text()
    assert str(space_directory(space)) not in maps
    assert answers() == before
    assert str(space_directory(space)) in Path("/proc/self/maps").read_text()


def test_recall_is_measured_on_every_store_that_holds_vectors(index: SpaceIndex) -> None:
    index.catch_up()
    maintenance.measure_recall(index)

    assert {modality: tuning.recall for modality, tuning in index.tunings.items()} == {
        Modality.IMAGE: 1.0,
        Modality.TEXT: 1.0,
    }


def test_recall_of_a_snapshot_is_not_told_of_the_next(index: SpaceIndex) -> None:
    index.catch_up()
    assert (index.tunings, index.is_measured) == ({}, False)
    maintenance.measure_recall(index)
    assert index.is_measured

    snapshot(LocalIndex(EmbeddingSpace.objects.get()))  # another process compacts
    index.catch_up()
    assert (index.tunings, index.is_measured) == ({}, False)
    maintenance.measure_recall(index)
    assert index.is_measured


def test_recall_is_measured_on_what_people_asked_too(
    index: SpaceIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.catch_up()
    pictures = index.replicas[Modality.IMAGE]
    tune, groups = pictures.tune, []

    def remember(*queries: Vectors) -> Tuning:
        groups.append([len(each) for each in queries])
        return tune(*queries)

    monkeypatch.setattr(pictures, "tune", remember)
    maintenance.measure_recall(index)
    for number in range(maintenance.RECALL_SAMPLE + 6):
        search(ask(f"question {number}"))
    maintenance.measure_recall(index)

    assert groups == [[3], [3, maintenance.RECALL_SAMPLE]]
    last = f"question {maintenance.RECALL_SAMPLE + 5}"
    assert (
        recent_query_vectors(index.space)[-1].tolist()
        == encode_query(index.space, Modality.TEXT, last).tolist()
    )


@pytest.mark.parametrize("step", ["_load", "_replay"])
@pytest.mark.parametrize("snapshots", [False, True])
def test_a_catch_up_that_failed_loses_nothing(
    index: SpaceIndex,
    make_item: Callable[..., Item],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    snapshots: bool,
) -> None:
    index.catch_up()
    make_item(item_id="later", colour="purple")
    worker.drain()
    if snapshots:  # written by another process: the next catch-up changes its base
        snapshot(LocalIndex(EmbeddingSpace.objects.get()))
    make_item(item_id="last", colour="orange")
    worker.drain()
    failing = index.rebuild if step == "_load" else index.catch_up
    for store in index.stores.values():
        with monkeypatch.context() as broken:
            broken.setattr(store, "commit", _fail)
            with pytest.raises(OperationalError):
                failing()

    index.catch_up()

    assert all(each.agrees for each in maintenance.compare(index))


@pytest.mark.parametrize("kind", [FaissStore, NumpyStore])
@pytest.mark.parametrize("step", ["_load", "_replay"])
def test_a_catch_up_that_failed_halfway_through_a_batch_loses_nothing(
    index: SpaceIndex,
    make_item: Callable[..., Item],
    monkeypatch: pytest.MonkeyPatch,
    kind: type[Replica],
    step: str,
) -> None:
    for module in (local_index, stored_vectors):
        monkeypatch.setattr(module, "LOAD_BATCH", 1)
    if kind is NumpyStore:
        space = EmbeddingSpace.objects.get()
        index.stores = index.replicas = {m: NumpyStore(space.dimension) for m in Modality}
    index.catch_up()
    before = {modality: store.ids().tolist() for modality, store in index.replicas.items()}
    for colour in ("purple", "orange"):
        make_item(item_id=colour, colour=colour)
    worker.drain()
    Item.objects.get(item_id="green").delete()
    pictures = index.replicas[Modality.IMAGE]
    upsert, calls = pictures.upsert, []

    def fail_at_the_second(ids: Ids, vectors: Vectors) -> None:
        calls.append(ids)
        if len(calls) == 2:
            raise OperationalError("database is locked")
        upsert(ids, vectors)

    with monkeypatch.context() as broken:
        broken.setattr(pictures, "upsert", fail_at_the_second)
        with pytest.raises(OperationalError):
            (index.rebuild if step == "_load" else index.catch_up)()
    assert {modality: store.ids().tolist() for modality, store in index.replicas.items()} == before

    index.catch_up()

    assert all(each.agrees for each in maintenance.compare(index))
    assert len(pictures) == 4


def _fail(_position: int) -> None:
    raise OperationalError("database is locked")


@pytest.mark.parametrize("replayed", [False, True])
def test_a_vector_that_is_not_finite_stops_no_search(
    index: SpaceIndex,
    indexed_items: dict[str, Item],
    caplog: pytest.LogCaptureFixture,
    replayed: bool,
) -> None:
    red = indexed_items["red"].pk
    if replayed:
        index.catch_up()
    row = Embedding.objects.get(item=red, modality=Modality.IMAGE)
    Embedding.objects.filter(pk=row.pk).update(vector=b"\x00\x7e" * (len(row.vector) // 2))
    VectorChange.objects.create(space_id=index.space_id, vector_item=red, modality=Modality.IMAGE)

    index.catch_up()

    assert red not in index.replicas[Modality.IMAGE].ids()
    assert len(index.stores[Modality.IMAGE]) == 2
    assert f"embed again items {red}" in caplog.text
