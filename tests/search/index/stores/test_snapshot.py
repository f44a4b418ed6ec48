from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.index.stores.faiss import plan
from search.index.stores.faiss.segment import VECTORS
from search.index.stores.faiss.snapshot import MANIFEST
from search.index.stores.faiss.store import FaissStore
from tests.search.index.stores.clusters import clustered, keys

DIMENSION = 24
KEY = "space/text"
ROWS = 1500


def opened(directory: Path, *, key: str = KEY, dimension: int = DIMENSION) -> FaissStore:
    """A new store on `directory`, caught up with its snapshot if it has a usable one."""
    store = FaissStore(dimension, directory, key=key)
    position = store.refresh()
    if position is not None:
        store.commit(position)
    return store


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FaissStore:
    """A store with one snapshot at position 5: an approximate index over ROWS vectors."""
    monkeypatch.setattr(plan, "EXACT_ROWS", 500)
    store = FaissStore(DIMENSION, tmp_path, key=KEY)
    store.upsert(np.arange(ROWS), clustered(ROWS, DIMENSION, seed=1))
    store.commit(5)
    assert store.compact()
    return store


def snapshot_folders(directory: Path) -> list[Path]:
    return sorted(directory.glob("snapshot-*"))


def test_a_new_process_serves_the_snapshot(written: FaissStore, tmp_path: Path) -> None:
    store = opened(tmp_path)
    queries = clustered(20, DIMENSION, seed=2)
    for ours, theirs in zip(store.search(queries, 10), written.search(queries, 10), strict=True):
        assert ours.ids.tolist() == theirs.ids.tolist()
        assert ours.scores.tolist() == theirs.scores.tolist()
    assert store.position() == 5
    assert store.stats() == written.stats()
    assert store.sample().tolist() == written.sample().tolist()


def test_reading_a_few_vectors_does_not_make_the_file_this_processs_memory(
    written: FaissStore, tmp_path: Path
) -> None:
    store, file = opened(tmp_path), snapshot_folders(tmp_path)[-1] / VECTORS
    before = mapped_kilobytes(file)

    few = store.fetch(np.arange(100))
    assert mapped_kilobytes(file) == before
    many = store.fetch(np.arange(ROWS))  # through the map
    assert mapped_kilobytes(file) > before
    assert few.tolist() == many[:100].tolist() == written.fetch(np.arange(ROWS))[:100].tolist()


def mapped_kilobytes(file: Path) -> int:
    """Of a mapped file, what this process has in memory."""
    maps = Path("/proc/self/smaps").read_text().split(str(file))
    return sum(int(after.split("Rss:")[1].split()[0]) for after in maps[1:])


def test_refresh_shows_nothing_before_commit(written: FaissStore, tmp_path: Path) -> None:
    store = FaissStore(DIMENSION, tmp_path, key=KEY)
    assert store.refresh() == written.position()
    assert (len(store), store.position()) == (0, 0)
    store.commit(6)
    assert (len(store), store.position()) == (ROWS, 6)


def test_refresh_takes_each_snapshot_once(written: FaissStore, tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert store.refresh() is None
    written.upsert(keys(9999), clustered(1, DIMENSION, seed=3))
    written.commit(8)
    assert written.compact()
    assert written.refresh() is None
    store.remove(keys(1))  # staged, and dropped by the refresh
    assert store.refresh() == 8
    assert len(store) == ROWS
    store.commit(8)
    assert len(store) == ROWS + 1
    assert store.refresh() is None


def test_two_snapshots_are_kept_and_the_oldest_position_told(
    written: FaissStore, tmp_path: Path
) -> None:
    for position in (6, 7, 8):
        written.upsert(keys(position), clustered(1, DIMENSION, seed=position))
        written.commit(position)
        assert written.compact()
    assert len(snapshot_folders(tmp_path)) == 2
    assert written.stats().snapshot_position == 8
    assert written.stats().oldest_position == 7


def test_the_operating_point_outlives_snapshots_of_others_and_restarts(
    written: FaissStore, tmp_path: Path
) -> None:
    compacting = opened(tmp_path)
    tuned = written.tune(clustered(50, DIMENSION, seed=4)).effort
    assert tuned != plan.FIRST_EFFORT[plan.Kind.HNSW]
    assert compacting.compact()
    assert written.refresh() == compacting.position()
    written.commit(5)
    assert written.stats().effort == tuned
    assert opened(tmp_path).stats().effort == tuned


@pytest.mark.parametrize("content", [b"", b"[]", b'{"hnsw": "96"}', b'{"hnsw": -1}', b"\xff"])
def test_an_operating_point_that_makes_no_sense_is_passed_over(
    written: FaissStore, tmp_path: Path, content: bytes
) -> None:
    written.tune(clustered(50, DIMENSION, seed=4))
    (tmp_path / "efforts.json").write_bytes(content)
    assert opened(tmp_path).stats().effort == plan.FIRST_EFFORT[plan.Kind.HNSW]


def test_tuning_goes_by_the_group_of_queries_that_finds_least(
    written: FaissStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(plan.EFFORTS, plan.Kind.HNSW, (1, 512))
    monkeypatch.setitem(plan.EXTRA_CANDIDATES, plan.Kind.HNSW, 0)
    written._efforts.keep(plan.Kind.HNSW, 1)
    near = written.fetch(np.arange(0, ROWS, 10))
    far = -near
    low, high = sorted(written.measure_recall(each, k=1) for each in (near, far))
    assert low < high
    written._target_recall = (low + high) / 2

    assert {written.tune(each, k=1).effort for each in (near, far)} == {1, 512}
    written._efforts.keep(plan.Kind.HNSW, 1)
    both = written.tune(near, far, k=1)

    assert both.effort == 512
    assert both.recall == min(written.measure_recall(each, k=1) for each in (near, far))


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def flip_first_byte(path: Path) -> None:
    _overwrite(path, 0)


def flip_last_byte(path: Path) -> None:
    _overwrite(path, path.stat().st_size - 1)


def _overwrite(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 0xFF
    path.unlink()  # a new file: the old one is still mapped
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, flip_first_byte, flip_last_byte, Path.unlink])
@pytest.mark.parametrize("name", ["ids.npy", "vectors.npy", "live.npy", "index.faiss"])
def test_a_damaged_file_is_refused_and_reported(
    written: FaissStore,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], None],
    name: str,
) -> None:
    (folder,) = snapshot_folders(tmp_path)
    (folder / name).rename(tmp_path / "original")  # stays mapped by `written`
    (folder / name).write_bytes((tmp_path / "original").read_bytes())
    damage(folder / name)
    store = opened(tmp_path)
    assert (len(store), store.position()) == (0, 0)
    assert "run rebuild_index" in caplog.text
    assert str(folder / name) in caplog.text
    (found,) = store.verify()
    assert str(folder / name) in found
    assert len(written) == ROWS


def test_damage_between_the_samples_is_found_by_verify(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "EXACT_ROWS", 100_000)
    store = FaissStore(DIMENSION, tmp_path, key=KEY)
    store.upsert(np.arange(60_000), clustered(60_000, DIMENSION, seed=5))
    store.commit(1)
    assert store.compact()
    assert store.verify() == []
    (folder,) = snapshot_folders(tmp_path)
    vectors = folder / "vectors.npy"
    _overwrite(vectors, 100_000)
    assert store.verify() == [f"{vectors} does not match its checksum"]


def test_a_damaged_newest_snapshot_leaves_the_one_before(
    written: FaissStore, tmp_path: Path
) -> None:
    (first,) = snapshot_folders(tmp_path)
    written.upsert(keys(9999), clustered(1, DIMENSION, seed=6))
    written.commit(9)
    assert written.compact()
    (newest,) = set(snapshot_folders(tmp_path)) - {first}
    (newest / "ids.npy").unlink()
    store = opened(tmp_path)
    assert (len(store), store.position()) == (ROWS, 5)


@pytest.mark.parametrize(
    ("owner", "told"),
    [
        ({"key": "other/text"}, "'other/text'"),
        ({"dimension": DIMENSION + 1}, f"dimension {DIMENSION + 1}"),
    ],
)
def test_a_foreign_snapshot_is_never_used(
    written: FaissStore,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    owner: dict[str, Any],
    told: str,
) -> None:
    store = opened(tmp_path, **owner)
    assert len(store) == 0
    assert told in caplog.text
    assert len(written) == ROWS


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b'{"format": 1, "snapshots": [{}]}', b'{"format": 99}', b"\xff\x00"],
)
def test_a_broken_manifest_counts_as_none_and_is_replaced(
    written: FaissStore, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    (tmp_path / MANIFEST).write_bytes(content)
    store = opened(tmp_path)
    assert len(store) == 0
    assert "run rebuild_index" in caplog.text
    assert len(store.verify()) == 1
    store.upsert(keys(3), clustered(1, DIMENSION, seed=7))
    store.commit(2)
    assert store.compact()
    assert opened(tmp_path).ids().tolist() == [3]
    assert len(written) == ROWS


def test_a_manifest_that_claims_other_rows_is_refused(
    written: FaissStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    manifest["snapshots"][0]["rows"] = 17
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    assert len(opened(tmp_path)) == 0
    assert "17 rows" in caplog.text
    assert len(written) == ROWS


def test_a_reader_of_a_replaced_snapshot_keeps_reading(written: FaissStore, tmp_path: Path) -> None:
    reader = opened(tmp_path)
    for position in (6, 7, 8):
        written.remove(keys(position))
        written.commit(position)
        assert written.compact()
    assert reader.stats().oldest_position == 7
    vectors = clustered(ROWS, DIMENSION, seed=1)
    found = reader.search(vectors[:50], 1)
    assert [match.ids[0] for match in found] == list(range(50))
    assert reader.fetch(np.arange(ROWS)).tolist() == vectors.astype(np.float16).tolist()
    reader.remove(keys(6, 7, 8))
    reader.commit(8)
    assert reader.compact(), "though the index it would append to is gone"
    assert reader.ids().tolist() == written.ids().tolist()


def test_a_clean_directory_has_nothing_to_refresh(tmp_path: Path) -> None:
    store = FaissStore(DIMENSION, tmp_path / "none", key=KEY)
    assert store.refresh() is None
    assert store.verify() == []
    assert not (tmp_path / "none").exists()
